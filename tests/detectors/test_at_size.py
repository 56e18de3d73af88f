"""What detectors do with large data, arrays in files and chunks of rows, changes no judgement."""

import numpy as np
import pandas as pd
import pytest

from labelsieve.backbones import ImageFeatures
from labelsieve.core import arrays
from labelsieve.detectors import latent_label
from labelsieve.detectors.latent_label import LatentLabel
from labelsieve.detectors.registry import DETECTORS
from labelsieve.tuners.inputs import fit_data
from problems import clustered_features

NAMES = ("cat", "dog", "car", "truck")


@pytest.mark.parametrize(
    "name",
    ["knn", "confident-learning", "label-match", "small-loss", "dual-prompts", "latent-label"],
)
@pytest.mark.parametrize("complete", [True, False])
def test_mapped_arrays_and_small_chunks_give_the_same_table(
    name, complete, tiny_backbone, monkeypatch
):
    x, given, _ = clustered_features(80, width=24)
    errors = {}
    if not complete:
        given[7], errors = -1, {11: "broken"}
    few = {"epochs": 1} if name in ("small-loss", "dual-prompts") else {}

    def judged():
        detector = DETECTORS.get(name)(tiny_backbone, class_names=NAMES, **few)
        return detector.fit(ImageFeatures(x, errors), given)

    plain = judged()
    if name == "latent-label":  # beyond a size another fit is used
        monkeypatch.setattr(latent_label, "MOST_ROWS", 40)
        plain = judged()
        monkeypatch.setattr(latent_label, "CHUNK_BYTES", 7 * 8 * 4)
    monkeypatch.setattr(arrays, "SHARE_OF_MEMORY", 0.0)
    monkeypatch.setattr(arrays.chunks, "__defaults__", (7 * 8 * 4,))
    large = judged()
    assert isinstance(large.probabilities_, np.memmap)
    assert large.probabilities_.dtype == np.float32
    np.testing.assert_allclose(large.probabilities_, plain.probabilities_, atol=1e-6)
    assert np.array_equal(large.is_label_issue_, plain.is_label_issue_)
    pd.testing.assert_frame_equal(large.issues_.table, plain.issues_.table, atol=1e-6, rtol=1e-5)


def test_large_data_are_judged_by_a_fit_to_a_subset(tiny_backbone, monkeypatch):
    """Other rows as by the scorer, fitted rows and known labels as in the fit."""
    x, given, true = clustered_features(600, width=tiny_backbone.embed_dim)
    known = np.where(np.arange(600) % 50 == 3, true, -1)
    whole = LatentLabel(tiny_backbone, class_names=NAMES).fit(x, given, known_labels=known)
    monkeypatch.setattr(latent_label, "MOST_WORK", 300 * x.shape[1] * 4)
    part = LatentLabel(tiny_backbone, class_names=NAMES).fit(x, given, known_labels=known)
    rows = part._fitted_rows(fit_data(x, given, tiny_backbone, NAMES), known)
    assert 300 <= len(rows) <= 320
    assert set(np.flatnonzero(known >= 0)) <= set(rows)
    others = np.setdiff1d(np.arange(600), rows)
    judged = part.score_features(x[others], given[others])
    np.testing.assert_allclose(judged.probabilities, part.probabilities_[others], atol=1e-6)
    np.testing.assert_allclose(judged.p_clean, part.p_clean_[others], atol=1e-6)
    assert ((part.p_clean_ == 1) | (part.p_clean_ == 0))[known >= 0].all()
    assert (part.is_label_issue_[known >= 0] == (known != given)[known >= 0]).all()
    assert (part.is_label_issue_ == whole.is_label_issue_).mean() > 0.95
