"""A linear discriminant, cross-validated in two passes over the rows, for large data.

Gaussian classes with one covariance (Fisher, 1936). Everything that it is fitted to are sums over
rows, so the fit without a fold is the sum over the other folds: all folds cost one pass to fit and
one to predict, whatever their number.
"""

from __future__ import annotations

import numpy as np
import torch
from scipy.sparse import csr_matrix
from scipy.special import log_softmax

from ..core.arrays import chunks, probabilities
from ..core.validation import FloatArray, IntArray

SHRINKAGE = 0.1
"""Of the covariance towards a multiple of the identity."""
SCALES = np.geomspace(0.05, 2.0, 24)
SCALE_ROWS = 20_000


def discriminant_probabilities(
    features: FloatArray, labels: IntArray, n_classes: int, folds: IntArray
) -> FloatArray:
    """Class probabilities of every row by a discriminant that was fitted without its fold.

    Discriminants of features that are not Gaussian are too sure of themselves; their logits are
    scaled so that the given labels, which the fit has not seen, are most likely.

    Parameters
    ----------
    features : ndarray of float32, shape (N, D)
        Image features; may be memory-mapped.
    labels : ndarray of int64, shape (N,)
        Given labels.
    n_classes : int
        Number of classes, K.
    folds : ndarray of int64, shape (N,)
        0..F-1.

    Returns
    -------
    ndarray of float64 (float32 when large), shape (N, K)
        Rows sum to 1; 0 for a class that occurs in the row's fold alone.
    """
    models = _fit(features, labels, n_classes, folds)
    some = np.linspace(0, len(labels) - 1, min(len(labels), SCALE_ROWS)).astype(int)
    logits = _logits(models, features[some], folds[some])
    scale = _best_scale(logits, labels[some])
    out = probabilities(len(labels), n_classes)
    for rows in chunks(len(labels), n_classes):
        logits = scale * _logits(models, features[rows], folds[rows])
        out[rows] = torch.from_numpy(logits).softmax(dim=1).numpy()
    return out


def _fit(
    features: FloatArray, labels: IntArray, n_classes: int, folds: IntArray
) -> list[tuple[FloatArray, FloatArray]]:
    """Weights (D, K) and offsets (K,) of the discriminants without each fold."""
    n_folds, width = int(folds.max()) + 1, features.shape[1]
    counts = np.bincount(folds * n_classes + labels, minlength=n_folds * n_classes)
    counts = counts.reshape(n_folds, n_classes).astype(np.float64)
    sums = np.zeros((n_folds * n_classes, width))
    squares = np.zeros((n_folds, width, width))
    centre = features[: 1 << 16].mean(axis=0, dtype=np.float64).astype(np.float32)
    for rows in chunks(len(labels), width):
        x = features[rows] - centre
        ones, at = np.ones(len(x), np.float32), np.arange(len(x))
        member = csr_matrix(
            (ones, (folds[rows] * n_classes + labels[rows], at)), shape=(len(sums), len(x))
        )
        sums += member @ x
        for fold in range(n_folds):
            own = x[folds[rows] == fold]
            squares[fold] += own.T @ own
    sums = sums.reshape(n_folds, n_classes, width)
    models = []
    for fold in range(n_folds):
        n = counts.sum(axis=0) - counts[fold]
        total = sums.sum(axis=0) - sums[fold]
        mean = total / np.maximum(n, 1)[:, None]
        within = (squares.sum(axis=0) - squares[fold] - total.T @ mean) / max(n.sum(), 1)
        level = np.trace(within) / width + 1e-12
        within = (1 - SHRINKAGE) * within + SHRINKAGE * level * np.eye(width)
        weights = np.linalg.solve(within, mean.T)
        with np.errstate(divide="ignore"):
            offsets = np.log(n / n.sum()) - 0.5 * (mean.T * weights).sum(axis=0)
        offsets = offsets - centre @ weights
        models.append((weights.astype(np.float32), offsets))
    return models


def _logits(
    models: list[tuple[FloatArray, FloatArray]], features: FloatArray, folds: IntArray
) -> FloatArray:
    """Logits (B, K), float32, of rows by the models without their folds."""
    out = np.empty((len(features), len(models[0][1])), dtype=np.float32)
    for fold, (weights, offsets) in enumerate(models):
        held = folds == fold
        out[held] = features[held] @ weights + offsets.astype(np.float32)
    return out


def _best_scale(logits: FloatArray, labels: IntArray) -> float:
    """The factor under which the given labels are most likely; unseen classes count little."""
    at = np.arange(len(labels))
    with np.errstate(invalid="ignore"):
        likely = [
            np.maximum(log_softmax(scale * logits, axis=1)[at, labels], -20.0).mean()
            for scale in SCALES
        ]
    return float(SCALES[int(np.argmax(likely))])
