"""Class probabilities of a linear probe for samples that it was not fitted to."""

from __future__ import annotations

import numpy as np
from sklearn.linear_model import LogisticRegression

from ..core.arrays import probabilities
from ..core.exceptions import InputError
from ..core.random import numpy_generator
from ..core.threads import threads_for
from ..core.validation import FloatArray, IntArray, check_number
from .discriminant import discriminant_probabilities

LARGE_WORK = 4e9
"""Rows times columns times classes from which on the probe is a discriminant."""


def fold_of_each_row(labels: IntArray, n_folds: int, random_state: int) -> IntArray:
    """A fold index for every row (N,), each class spread over the folds as evenly as it can be."""
    generator = numpy_generator(random_state)
    folds = np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        rows = generator.permutation(np.flatnonzero(labels == label))
        folds[rows] = (np.arange(len(rows)) + generator.integers(n_folds)) % n_folds
    return folds


def out_of_sample_probabilities(
    features: FloatArray,
    labels: IntArray,
    n_classes: int,
    *,
    n_folds: int = 5,
    random_state: int = 0,
) -> FloatArray:
    """Cross-validated probabilities of a linear probe.

    A logistic regression on standardised features; for large data, where that takes hours, the
    discriminant of `selection.discriminant`, which takes two passes over the rows.

    Parameters
    ----------
    features : ndarray of float32, shape (N, D)
        Image features.
    labels : ndarray of int64, shape (N,)
        Given labels; classes with a single sample are allowed (they get probability 0 in the fold
        that holds it).
    n_classes : int
        Number of classes, K.
    n_folds : int
        Folds; at most N are used.
    random_state : int
        Decides the folds.

    Returns
    -------
    ndarray of float64 (float32 when large), shape (N, K)
        Rows sum to 1.

    Raises
    ------
    InputError
        If fewer than two classes have a sample, so that there is nothing to tell apart.
    """
    check_number(n_folds, name="n_folds", low=2, integer=True)
    if len(np.unique(labels)) < 2:
        raise InputError("all given labels are of one class; at least two classes are needed")
    folds = fold_of_each_row(labels, min(n_folds, len(labels)), random_state)
    work = features.size * n_classes
    if work > LARGE_WORK:
        return discriminant_probabilities(features, labels, n_classes, folds)
    with threads_for(work):
        return _logistic_probabilities(features, labels, n_classes, folds)


def _logistic_probabilities(
    features: FloatArray, labels: IntArray, n_classes: int, folds: IntArray
) -> FloatArray:
    out = probabilities(len(labels), n_classes)
    for fold in np.unique(folds):
        fitted, held = folds != fold, folds == fold
        seen = np.unique(labels[fitted])
        if len(seen) < 2:  # none where all of very few rows are in this fold
            out[held] = np.isin(np.arange(n_classes), seen) if len(seen) else 1.0 / n_classes
            continue
        mean, std = features[fitted].mean(axis=0), features[fitted].std(axis=0) + 1e-6
        probe = LogisticRegression(max_iter=300, C=0.1)
        probe.fit((features[fitted] - mean) / std, labels[fitted])
        found = probe.predict_proba((features[held] - mean) / std)
        out[np.ix_(held, probe.classes_)] = found
    return out
