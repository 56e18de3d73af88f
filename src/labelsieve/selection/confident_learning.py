"""Confident learning: which labels disagree with confident out-of-sample predictions."""

from __future__ import annotations

import numpy as np

from ..core.arrays import CACHED, chunks
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
    return _joint_and_predicted(probabilities, labels)[0]


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
    joint, predicted = _joint_and_predicted(probabilities, labels)
    counts = np.rint(joint).astype(int)
    flagged = np.zeros(len(labels), dtype=bool)
    members = np.split(np.argsort(labels, kind="stable"), np.cumsum(np.bincount(labels))[:-1])
    for given in np.flatnonzero(counts.sum(axis=1)).tolist():
        rows = members[given]
        off = rows[predicted[rows] != given]
        wanted = np.flatnonzero(counts[given])
        wanted = wanted[wanted != given]
        if not len(off) or not len(wanted):
            continue
        size = counts[given, wanted]
        flagged[off], undecided = _below_cuts(probabilities[off], given, wanted, size)
        if undecided.any():
            at = wanted[undecided]
            flagged[rows] |= _worst(probabilities[rows], given, at, size[undecided])
    return flagged & (predicted != labels)


def _below_cuts(
    p: FloatArray, given: int, wanted: IntArray, counts: IntArray
) -> tuple[BoolArray, BoolArray]:
    """Which rows (M,) are among the worst of a pair, and which pairs (J,) this cannot decide.

    The rows are those of a class that are predicted as another. Margins p_given - p_true below 0
    occur among them alone, so as long as the cut after `counts` rows is below 0, the rest of the
    class needs no look. Ties at the cut are left open.
    """
    margins = p[:, given] - p.T[wanted]
    place = np.minimum(counts, len(p)) - 1
    cuts = np.sort(margins, axis=1)[np.arange(len(wanted)), place]
    reached = margins <= cuts[:, None]
    undecided = (cuts >= 0) | (reached.sum(axis=1) != counts)
    return reached[~undecided].any(axis=0), undecided


def _worst(p: FloatArray, given: int, wanted: IntArray, counts: IntArray) -> BoolArray:
    """Which rows (M,) of a class are among the `counts` worst of any of the pairs (J,)."""
    flagged = np.zeros(len(p), dtype=bool)
    for true, count in zip(wanted, counts, strict=True):
        flagged[np.argsort(p[:, given] - p[:, true], kind="stable")[:count]] = True
    return flagged


def _joint_and_predicted(
    probabilities: FloatArray, labels: IntArray
) -> tuple[FloatArray, IntArray]:
    """See `confident_joint`, and the predicted classes (N,), in one pass."""
    n, n_classes = probabilities.shape
    sizes = np.bincount(labels, minlength=n_classes)
    own = np.bincount(labels, weights=probabilities[np.arange(n), labels], minlength=n_classes)
    # A class that nobody was given has no threshold to reach.
    thresholds = np.where(sizes > 0, own / np.maximum(sizes, 1), np.inf) - 1e-6
    limits = thresholds.astype(probabilities.dtype)
    limits = np.where(limits < thresholds, np.nextafter(limits, limits.dtype.type(np.inf)), limits)
    predicted, reached = np.empty(n, dtype=np.int64), np.empty(n, dtype=np.int64)
    for rows in chunks(n, n_classes, CACHED):
        p = probabilities[rows]
        top = p.argmax(axis=1)
        predicted[rows] = reached[rows] = top
        # Where the largest probability is not confident, a smaller one may be.
        below = np.flatnonzero(p[np.arange(len(p)), top] < limits[top])
        confident = np.where(p[below] >= limits, p[below], -1.0)
        best = confident.argmax(axis=1)
        found = confident[np.arange(len(below)), best] >= 0
        reached[rows.start + below] = np.where(found, best, -1)
    counted = reached >= 0
    pairs = labels[counted] * n_classes + reached[counted]
    joint = np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes).astype(float)
    diagonal = np.arange(n_classes)
    joint[diagonal, diagonal] = np.maximum(joint[diagonal, diagonal], sizes > 0)
    return joint / np.maximum(joint.sum(axis=1, keepdims=True), 1.0) * sizes[:, None], predicted
