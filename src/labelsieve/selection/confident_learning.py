"""Confident learning: which labels disagree with confident out-of-sample predictions."""

from __future__ import annotations

import numpy as np

from ..core.arrays import chunks
from ..core.validation import BoolArray, FloatArray, IntArray


def confident_joint(probabilities: FloatArray, labels: IntArray) -> FloatArray:
    """Estimated joint counts of given and true labels.

    Northcutt et al., JAIR 2021, equations 1 to 3: a sample labelled i counts for class j when its
    p_j reaches the mean p_j of the samples labelled j (the largest such p_j where several do).
    Rows are then scaled to the class sizes.

    Parameters
    ----------
    probabilities : ndarray, shape (N, K)
        Out-of-sample class probabilities.
    labels : ndarray of int64, shape (N,)
        Given labels.

    Returns
    -------
    ndarray of float64, shape (K, K)
        Entry (i, j) estimates how many samples labelled i truly are j; sums to N.
    """
    n_classes = probabilities.shape[1]
    sizes = np.bincount(labels, minlength=n_classes)
    own = np.bincount(
        labels, weights=probabilities[np.arange(len(labels)), labels], minlength=n_classes
    )
    # A class that nobody was given has no threshold to reach.
    thresholds = np.where(sizes > 0, own / np.maximum(sizes, 1), np.inf)
    joint = np.zeros((n_classes, n_classes))
    for rows in chunks(len(labels), n_classes):
        p = probabilities[rows]
        confident = np.where(p >= thresholds - 1e-6, p, -1.0)
        counted = confident.max(axis=1) >= 0
        np.add.at(joint, (labels[rows][counted], confident[counted].argmax(axis=1)), 1.0)
    diagonal = np.arange(n_classes)
    joint[diagonal, diagonal] = np.maximum(joint[diagonal, diagonal], sizes > 0)
    return joint / np.maximum(joint.sum(axis=1, keepdims=True), 1.0) * sizes[:, None]


def prune_by_noise_rate(probabilities: FloatArray, labels: IntArray) -> BoolArray:
    """Flag, for each pair of classes, as many samples as the confident joint counts.

    For given class i and true class j those with the largest margin p_j - p_i are taken; a sample
    whose prediction is its given label is never flagged.

    Parameters
    ----------
    probabilities : ndarray, shape (N, K)
        Out-of-sample class probabilities.
    labels : ndarray of int64, shape (N,)
        Given labels.

    Returns
    -------
    ndarray of bool, shape (N,)
        True where the label looks wrong.
    """
    counts = np.rint(confident_joint(probabilities, labels)).astype(int)
    flagged = np.zeros(len(labels), dtype=bool)
    members = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels))[:-1])
    for given in np.flatnonzero(counts.sum(axis=1)):
        rows = members[given]
        p = probabilities[rows]
        for true in np.flatnonzero(counts[given]):
            if true != given:
                worst = np.argsort(p[:, given] - p[:, true], kind="stable")
                flagged[rows[worst[: counts[given, true]]]] = True
    return flagged & (probabilities.argmax(axis=1) != labels)
