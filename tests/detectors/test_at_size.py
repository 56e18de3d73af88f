"""What detectors do with large data, arrays in files and chunks of rows, changes no judgement."""

import numpy as np
import pandas as pd
import pytest

from labelsieve.backbones import ImageFeatures
from labelsieve.core import arrays
from labelsieve.detectors.registry import DETECTORS
from problems import clustered_features

NAMES = ("cat", "dog", "car", "truck")


@pytest.mark.parametrize(
    "name", ["knn", "confident-learning", "label-match", "small-loss", "dual-prompts"]
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
    monkeypatch.setattr(arrays, "SHARE_OF_MEMORY", 0.0)
    monkeypatch.setattr(arrays.chunks, "__defaults__", (7 * 8 * 4,))
    large = judged()
    assert isinstance(large.probabilities_, np.memmap)
    assert large.probabilities_.dtype == np.float32
    np.testing.assert_allclose(large.probabilities_, plain.probabilities_, atol=1e-6)
    assert np.array_equal(large.is_label_issue_, plain.is_label_issue_)
    pd.testing.assert_frame_equal(large.issues_.table, plain.issues_.table, atol=1e-6, rtol=1e-5)
