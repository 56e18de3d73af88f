"""Fitted detectors on rows that they were not fitted to."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch

from labelsieve.core.exceptions import InputError
from labelsieve.detectors import DETECTORS
from labelsieve.selection.latent_labels import fit_latent_labels, largest_expected_f1

K, D = 4, 16
CLASSES = ("a", "b", "c", "d")


def blobs(n: int, seed: int, rate: float = 0.25):
    """Unit features (n, D) around four centres, true and given labels."""
    centres = np.random.default_rng(7).normal(size=(K, D))
    generator = np.random.default_rng(seed)
    true = generator.integers(K, size=n)
    x = centres[true] + 0.6 * generator.normal(size=(n, D))
    features = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    shift = np.where(generator.random(n) < rate, generator.integers(1, K, size=n), 0)
    return features, true, (true + shift) % K, 5 * features @ centres.T.astype(np.float32)


def test_the_latent_model_judges_unseen_rows_as_a_fit_to_them_would():
    x, true, given, logits = blobs(3000, seed=0)
    fit = fit_latent_labels(x[:1500], given[:1500], logits[:1500])
    whole = fit_latent_labels(x, given, logits)
    posterior = fit.model.posterior(x[1500:], given[1500:], logits[1500:])
    assert posterior.shape == (1500, K)
    np.testing.assert_allclose(posterior.sum(axis=1), 1.0)
    p_clean = posterior[np.arange(1500), given[1500:]]
    assert np.abs(p_clean - whole.p_clean[1500:]).mean() < 0.01
    wrong = given[1500:] != true[1500:]
    found, both = p_clean < 0.5, largest_expected_f1(whole.p_clean)[1500:]
    assert (found == both).mean() > 0.98
    assert (found == wrong).mean() > 0.97


def test_rows_do_not_depend_on_each_other():
    x, _, given, logits = blobs(600, seed=1)
    model = fit_latent_labels(x, given, logits).model
    whole = model.posterior(x, given, logits)
    parts = [
        model.posterior(x[i : i + 100], given[i : i + 100], logits[i : i + 100])
        for i in range(0, 600, 100)
    ]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)


def test_a_useless_prior_is_left_out_of_the_model_too():
    x, true, given, logits = blobs(1500, seed=2)
    renamed = np.roll(logits, 1, axis=1)
    model = fit_latent_labels(x[:1000], given[:1000], renamed[:1000]).model
    found = model.posterior(x[1000:], given[1000:], renamed[1000:]).argmax(axis=1)
    assert (found == true[1000:]).mean() > 0.9


def features(backbone, n: int, seed: int):
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(n, backbone.embed_dim)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True), generator.integers(3, size=n)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("label-match", {}),
        ("small-loss", {"epochs": 1}),
        ("small-loss", {"epochs": 1, "noise_rate": 0.3}),
        ("dual-prompts", {"epochs": 1, "n_context": 2}),
        ("dual-prompts", {"epochs": 1, "n_context": 2, "agreement": True}),
    ],
)
def test_fitted_rows_are_judged_as_in_the_fit(tiny_backbone, name: str, params: dict):
    x, y = features(tiny_backbone, 60, 0)
    detector = DETECTORS.get(name)(tiny_backbone, class_names=CLASSES[:3], **params).fit(x, y)
    found = pickle.loads(pickle.dumps(detector.scorer_))(x, y)
    np.testing.assert_allclose(found.label_score, detector.label_score_, atol=2e-5)
    np.testing.assert_allclose(found.probabilities, detector.probabilities_, atol=2e-5)
    far = np.abs(detector.label_score_ - 0.5) > 1e-4
    same = found.is_label_issue == detector.is_label_issue_
    assert same[far].all()
    if found.p_clean is not None:
        np.testing.assert_allclose(found.p_clean, detector.p_clean_, atol=2e-5)


def test_a_scorer_needs_no_model(tiny_backbone):
    x, y = features(tiny_backbone, 60, 0)
    detector = DETECTORS.get("latent-label")(
        tiny_backbone, class_names=CLASSES[:3], n_repeats=2
    ).fit(x, y)
    sent = pickle.dumps(detector.scorer_)
    assert len(sent) < 200_000
    assert isinstance(detector.score_features(x, y).label_score, np.ndarray)
    assert not any(isinstance(v, torch.nn.Module) for v in vars(detector.scorer_).values())


def test_knn_says_that_it_cannot(tiny_backbone):
    x, y = features(tiny_backbone, 60, 0)
    detector = DETECTORS.get("knn")(tiny_backbone, class_names=CLASSES[:3]).fit(x, y)
    with pytest.raises(InputError, match="knn judges only the rows that it is fitted to; use lat"):
        detector.score_features(x, y)
