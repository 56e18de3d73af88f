"""The latent-label model: its parts against plain statements, and what it recovers."""

import numpy as np
import pytest
from scipy.special import log_softmax

from labelsieve.selection.latent_labels import (
    _fit_matrix,
    _posterior,
    _uniform_noise,
    fit_latent_labels,
    largest_expected_f1,
)
from problems import clustered_features


def test_posterior_is_bayes_rule():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 3)), np.array([0, 1, 2, 0, 1, 2])
    matrix = np.array([[0.7, 0.2, 0.1], [0.0, 0.9, 0.1], [0.3, 0.3, 0.4]])
    q = np.exp(log_softmax(logits, axis=1))
    for i, given in enumerate(labels):
        joint = q[i] * matrix[:, given]
        np.testing.assert_allclose(_posterior(logits, matrix, labels)[i], joint / joint.sum())


def test_expectation_maximisation_never_lowers_the_likelihood():
    rng = np.random.default_rng(1)
    logits, labels = 3 * rng.normal(size=(400, 4)), rng.integers(4, size=400)
    q = np.exp(log_softmax(logits, axis=1))
    matrix, values = _uniform_noise(4, 0.3), []
    for _ in range(10):
        values.append(np.log((q * matrix.T[labels]).sum(axis=1)).mean())
        matrix = _fit_matrix(logits, matrix, labels, 1, prior=1e-9)
    assert (np.diff(values) >= -1e-9).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0)


def test_recovers_noise_rate_and_flips_without_being_told():
    x, given, true = clustered_features(600, width=16)
    noise = np.random.default_rng(3).normal(size=(600, 4))
    zero_shot = 2 * np.eye(4)[true] + 1.2 * noise  # an imperfect prior: about 0.75 accurate
    found = fit_latent_labels(x, given, zero_shot, n_repeats=2)
    # the ridge makes it cautious: it estimates about 0.21 where 0.25 are wrong
    assert 1 - found.p_clean.mean() == pytest.approx(0.25, abs=0.05)
    assert ((found.p_clean < 0.5) == (given != true)).mean() > 0.95
    assert (found.posterior.argmax(axis=1) == true).mean() > 0.95
    np.testing.assert_allclose(found.noise_matrix.sum(axis=1), 1.0)
    assert np.diag(found.noise_matrix).mean() == pytest.approx(0.75, abs=0.08)


def test_expected_f1_flags_equal_a_search_over_all_cuts():
    rng = np.random.default_rng(2)
    p_clean = rng.beta(2, 1, 50)
    wrong = np.sort(1 - p_clean)[::-1]
    scores = [2 * wrong[:k].sum() / (k + wrong.sum()) for k in range(1, 51)]
    assert largest_expected_f1(p_clean).sum() == int(np.argmax(scores)) + 1
    assert not largest_expected_f1(np.ones(5)).any()


@pytest.mark.parametrize("seed", range(5))
def test_confident_but_useless_zero_shot_logits_do_not_rename_classes(seed):
    x, given, true = clustered_features(240, width=16, seed=seed)
    swapped = 12 * np.eye(4)[(true + 1) % 4]  # every class is taken for the next one
    useless = 6 * np.random.default_rng(seed).normal(size=(4, 4))[true]
    for logits in (swapped, useless):
        found = fit_latent_labels(x, given, logits)
        flagged = largest_expected_f1(found.p_clean)
        assert flagged.mean() < 0.5
        assert (given != true)[flagged].mean() > 0.7
