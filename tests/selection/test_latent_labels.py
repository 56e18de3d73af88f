"""The latent-label model: its parts against plain statements, and what it recovers."""

import numpy as np
import pytest
from scipy.special import log_softmax

from labelsieve.selection.latent_labels import (
    _fit_once,
    fit_latent_labels,
    largest_expected_f1,
)
from labelsieve.selection.noise_em import fit_matrix, fit_rate, observe, posterior_of, uniform_noise
from problems import clustered_features


def test_posterior_is_bayes_rule():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(6, 3)), np.array([0, 1, 2, 0, 1, 2])
    matrix = np.array([[0.7, 0.2, 0.1], [0.0, 0.9, 0.1], [0.3, 0.3, 0.4]])
    q = np.exp(log_softmax(logits, axis=1))
    for i, given in enumerate(labels):
        joint = q[i] * matrix[:, given]
        np.testing.assert_allclose(posterior_of(logits, matrix, labels)[i], joint / joint.sum())


def test_images_that_are_all_the_same_can_be_judged():
    features = np.repeat(np.eye(1, 8, dtype=np.float32), 12, axis=0)
    labels = np.array([0] * 9 + [1] * 3)
    found = fit_latent_labels(features, labels, np.tile([2.0, 0.0, -2.0], (12, 1)))
    np.testing.assert_allclose(found.posterior.sum(axis=1), 1.0)
    assert found.p_clean[:9].min() > found.p_clean[9:].max()  # rare, and not what the name says
    again = found.model.posterior(features, labels, np.tile([2.0, 0.0, -2.0], (12, 1)))
    assert np.isfinite(again).all()


def test_one_image_a_class_can_be_judged():
    features = np.eye(2, 8, dtype=np.float32)
    found = fit_latent_labels(features, np.arange(2), 4 * np.eye(2))
    assert found.p_clean.min() > 0.9  # the names agree, and nothing else is known
    assert np.isfinite(found.noise_matrix).all()


def test_a_fold_without_rows_leaves_no_row_unjudged():
    x, given, _ = clustered_features(40, width=8)
    x, names = np.column_stack([x, np.ones(40)]).astype(np.float32), np.zeros((40, 4))
    unknown, folds = np.full(40, -1), np.arange(40) % 2
    expected = _fit_once(x, given, unknown, names, folds)
    found = _fit_once(x, given, unknown, names, folds + 1)
    np.testing.assert_array_equal(found[0], expected[0])


def test_expectation_maximisation_never_lowers_the_likelihood():
    rng = np.random.default_rng(1)
    logits, labels = 3 * rng.normal(size=(400, 4)), rng.integers(4, size=400)
    q = np.exp(log_softmax(logits, axis=1))
    matrix, values = uniform_noise(4, 0.3), []
    for _ in range(10):
        values.append(np.log((q * matrix.T[labels]).sum(axis=1)).mean())
        matrix = fit_matrix(logits, matrix, labels, 1, prior=1e-9)
    assert (np.diff(values) >= -1e-9).all()
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0)


def textbook_matrix(logits, matrix, labels, steps, prior, known):
    """Expectation-maximisation with the posterior of every row written out."""
    k = len(matrix)
    for _ in range(steps):
        posterior = observe(posterior_of(logits, matrix, labels), known)
        counts = np.zeros((k, k))
        for row, given in zip(posterior, labels, strict=True):
            counts[:, given] += row
        uniform = uniform_noise(k, np.clip(1 - np.trace(counts) / len(labels), 1e-3, 1 - 1 / k))
        matrix = uniform if np.isinf(prior) else counts + prior * uniform
        matrix = matrix / matrix.sum(axis=1, keepdims=True)
    return matrix


@pytest.mark.parametrize("with_known", [False, True])
@pytest.mark.parametrize("scale", [1.0, 30.0])
def test_expectation_maximisation_equals_the_textbook(scale, with_known):
    rng = np.random.default_rng(4)
    logits, labels = scale * rng.normal(size=(300, 6)), rng.integers(5, size=300)  # one is empty
    known = np.where(rng.random(300) < 0.2, rng.integers(6, size=300), -1)
    known = known if with_known else np.full(300, -1)
    start = uniform_noise(6, 0.3)
    uniform = textbook_matrix(logits, start, labels, 5, np.inf, known)
    rate = fit_rate(logits, labels, 0.3, 5, known)
    np.testing.assert_allclose(uniform_noise(6, rate), uniform, rtol=1e-9)
    for logit_type in (np.float64, np.float32):
        found = fit_matrix(logits.astype(logit_type), start, labels, 5, 2.0, known)
        wanted = textbook_matrix(logits.astype(logit_type), start, labels, 5, 2.0, known)
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-12)


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
