"""A noise matrix between class logits and given labels, by expectation-maximisation."""

from __future__ import annotations

import numpy as np
from scipy.special import softmax

from ..core.validation import FloatArray, IntArray

FIRST_RATE = 0.3  # noise rate at the start of expectation-maximisation
MATRIX_STEPS = 20  # of expectation-maximisation where nothing but the noise matrix is learned
SCALES = (0.3, 0.5, 0.7, 1.0, 1.4, 2.0)  # tried on the logits of a trained classifier
SCALE_ROWS = 5_000  # on which they are compared
SAMPLES_PER_CELL = 10  # N / K^2 below which the noise matrix is shrunk by K^2, not K, samples
TINY = 1e-300


def posterior_of_logits(logits: FloatArray, labels: IntArray) -> tuple[FloatArray, FloatArray]:
    """Posterior of the true label from class logits and given labels alone.

    The scale of the logits and a noise matrix are fitted to the given labels by maximum
    likelihood; nothing else is learned, so it suits logits of a model that was trained already.

    Parameters
    ----------
    logits : ndarray, shape (N, K)
        Of any classifier.
    labels : ndarray of int64, shape (N,)
        Given labels.

    Returns
    -------
    posterior : ndarray of float64, shape (N, K)
        P(true | image, given).
    matrix : ndarray of float64, shape (K, K)
        P(given | true); rows are true classes.
    """
    n, k = logits.shape
    logits = np.asarray(logits, dtype=np.float64)
    # A free noise matrix would rather explain doubt as noise than lower the scale.
    prior = float(SAMPLES_PER_CELL * k * k)
    some = np.linspace(0, n - 1, min(n, SCALE_ROWS)).astype(int)
    best = (-np.inf, 0.0)
    for scale in SCALES:
        matrix = _fit_noise(scale * logits[some], labels[some], prior)
        likelihood = (softmax(scale * logits[some], axis=1) * matrix.T[labels[some]]).sum(axis=1)
        best = max(best, (float(np.log(likelihood + 1e-30).mean()), scale))
    matrix = _fit_noise(best[1] * logits, labels, prior)
    return posterior_of(best[1] * logits, matrix, labels), matrix


def _fit_noise(logits: FloatArray, labels: IntArray, prior: float) -> FloatArray:
    """The noise matrix of fixed logits: first one rate for all pairs, then the whole matrix."""
    rate = fit_rate(logits, labels, FIRST_RATE, MATRIX_STEPS // 2)
    matrix = uniform_noise(logits.shape[1], rate)
    return fit_matrix(logits, matrix, labels, MATRIX_STEPS, prior)


def uniform_noise(n_classes: int, rate: float) -> FloatArray:
    """A noise matrix (K, K) with one rate, spread evenly over the other classes."""
    matrix = np.full((n_classes, n_classes), rate / max(n_classes - 1, 1))
    np.fill_diagonal(matrix, 1.0 - rate)
    return matrix


def posterior_of(logits: FloatArray, matrix: FloatArray, labels: IntArray) -> FloatArray:
    """P(true | image, given), (N, K): softmax(logits) times the column of the given label."""
    with np.errstate(divide="ignore"):
        return softmax(logits + np.log(matrix.T)[labels], axis=1)


def observe(posterior: FloatArray, known: IntArray | None) -> FloatArray:
    """The posterior with certainty in the rows whose true label is known (not -1)."""
    if known is None or (known < 0).all():
        return posterior
    rows = np.flatnonzero(known >= 0)
    observed = posterior.copy()
    observed[rows] = 0.0
    observed[rows, known[rows]] = 1.0
    return observed


def log_likelihood(
    logits: FloatArray, matrix: FloatArray, labels: IntArray, known: IntArray
) -> float:
    """Mean log-probability of the given labels, together with the true ones that are known."""
    joint = softmax(logits, axis=1) * matrix.T[labels]
    likelihood = joint.sum(axis=1)
    rows = np.flatnonzero(known >= 0)
    likelihood[rows] = joint[rows, known[rows]]
    return float(np.log(likelihood + 1e-30).mean())


def fit_rate(
    logits: FloatArray,
    labels: IntArray,
    rate: float,
    steps: int,
    known: IntArray | None = None,
) -> float:
    """Expectation-maximisation of one noise rate for all pairs of classes.

    With uniform noise the posterior of the given label needs nothing of a row but q, its
    probability of that label: q (1 - rate) / (q (1 - rate) + (1 - q) rate / (K - 1)).
    """
    k = logits.shape[1]
    rows = np.arange(len(labels))
    q = softmax(np.asarray(logits, dtype=np.float64), axis=1)[rows, labels]
    for _ in range(steps):
        right, wrong = q * (1 - rate), (1 - q) * rate / max(k - 1, 1)
        clean = right / np.maximum(right + wrong, TINY)
        if known is not None:
            clean = np.where(known < 0, clean, known == labels)
        rate = float(np.clip(1 - clean.sum() / len(labels), 1e-3, 1 - 1 / k))
    return rate


def fit_matrix(
    logits: FloatArray,
    matrix: FloatArray,
    labels: IntArray,
    steps: int,
    prior: float,
    known: IntArray | None = None,
) -> FloatArray:
    """Expectation-maximisation of the noise matrix alone.

    `prior` pseudo-samples a class of uniform noise at the current overall rate are added to the
    expected counts. The rows of a given label share a column of the matrix, so their expected
    counts are two products of a matrix and a vector.
    """
    k = len(matrix)
    order = np.argsort(labels, kind="stable")
    q = softmax(np.asarray(logits, dtype=np.float64)[order], axis=1)
    ends = np.cumsum(np.bincount(labels, minlength=k))
    certain = np.zeros((k, k))
    free = np.ones(len(labels))
    if known is not None:
        told = known >= 0
        np.add.at(certain, (labels[told], known[told]), 1.0)
        free = np.where(told[order], 0.0, 1.0)
    for _ in range(steps):
        counts = certain.copy()
        for given in np.unique(labels):
            rows = slice(ends[given - 1] if given else 0, ends[given])
            column = matrix[:, given]
            weights = free[rows] / np.maximum(q[rows] @ column, TINY)
            counts[given] += (weights @ q[rows]) * column
        rate = float(np.clip(1 - np.trace(counts) / len(labels), 1e-3, 1 - 1 / k))
        counts = counts.T + prior * uniform_noise(k, rate)
        matrix = counts / counts.sum(axis=1, keepdims=True)
    return matrix
