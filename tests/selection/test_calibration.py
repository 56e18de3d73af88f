"""Calibrated clean probabilities: right on a model problem, monotone, and without any truth."""

import numpy as np
import pytest
from scipy.special import softmax

from labelsieve.bench.metrics import expected_calibration_error
from labelsieve.selection.calibration import calibrate_scores
from labelsieve.selection.noise_em import posterior_of_logits


def noisy_problem(n=6000, k=5, rate=0.3, scale=1.0, seed=0):
    """Logits of a calibrated classifier times a factor, labels from a known noise matrix."""
    rng = np.random.default_rng(seed)
    logits = 2.0 * rng.normal(size=(n, k))
    p = softmax(logits, axis=1)
    true = np.array([rng.choice(k, p=row) for row in p])
    matrix = np.full((k, k), rate / (2 * (k - 1)))
    matrix[np.arange(k), (np.arange(k) + 1) % k] += rate / 2
    matrix[np.arange(k), np.arange(k)] = 1 - rate
    given = np.array([rng.choice(k, p=matrix[t]) for t in true])
    return scale * logits, given, true, matrix, p


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_the_posterior_finds_scale_noise_matrix_and_probabilities(scale):
    logits, given, true, matrix, p = noisy_problem(scale=scale)
    posterior, found = posterior_of_logits(logits, given)
    np.testing.assert_allclose(found, matrix, atol=0.06)
    exact = p * matrix.T[given]
    exact /= exact.sum(axis=1, keepdims=True)
    assert np.abs(posterior - exact).mean() < 0.03
    rows = np.arange(len(given))
    assert expected_calibration_error(posterior[rows, given], given == true) < 0.05


def test_calibrated_scores_keep_the_order_and_take_the_level():
    logits, given, true, *_ = noisy_problem()
    rows = np.arange(len(given))
    score = 100 + 7 * (logits[rows, given] - np.sort(logits, axis=1)[:, -2])
    p_clean, matrix = calibrate_scores(score, logits, given)
    assert (np.diff(p_clean[np.argsort(score)]) >= 0).all()
    assert expected_calibration_error(p_clean, given == true) < 0.05
    assert 1 - p_clean.mean() == pytest.approx(0.3, abs=0.05)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0)
    assert ((p_clean >= 0) & (p_clean <= 1)).all()


def test_small_and_degenerate_input_gives_finite_probabilities():
    for n, k in ((1, 2), (3, 4), (5, 1)):
        p_clean, matrix = calibrate_scores(np.zeros(n), np.zeros((n, k)), np.zeros(n, int))
        assert np.isfinite(p_clean).all()
        assert np.isfinite(matrix).all()
