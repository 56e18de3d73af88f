"""Figures of merit for detectors and classifiers, each computed once over all rows."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from ..core.validation import BoolArray, FloatArray, IntArray

N_BINS = 15
BUDGETS = (0.01, 0.05, 0.1)
"""Shares of the judged images that a person may look at."""


def detection_metrics(
    label_score: FloatArray, is_label_issue: BoolArray, is_wrong: BoolArray
) -> dict[str, float | None]:
    """How well wrong labels were found.

    Rows that were not judged (score NaN) are left out. Precision is 0 when nothing is flagged;
    recall is 0 when nothing is wrong.

    Parameters
    ----------
    label_score : ndarray, shape (N,)
        LOWER = worse.
    is_label_issue, is_wrong : ndarray of bool, shape (N,)
        Flagged by the detector; truly wrong.

    Returns
    -------
    dict
        ``precision``, ``recall`` and ``f1`` of the flagged set, ``average_precision`` and
        ``auroc`` of ranking by the score (None when all or no labels are wrong), ``n_flagged`` and
        ``n_wrong``.
    """
    judged = ~np.isnan(label_score)
    score, flagged, wrong = label_score[judged], is_label_issue[judged], is_wrong[judged]
    hits = int((flagged & wrong).sum())
    precision = hits / max(int(flagged.sum()), 1)
    recall = hits / max(int(wrong.sum()), 1)
    mixed = 0 < wrong.sum() < len(wrong)
    return {
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / (precision + recall) if hits else 0.0,
        "average_precision": float(average_precision_score(wrong, -score)) if mixed else None,
        "auroc": float(roc_auc_score(wrong, -score)) if mixed else None,
        "n_flagged": int(flagged.sum()),
        "n_wrong": int(wrong.sum()),
    }


def clean_set_metrics(kept: BoolArray, is_clean: BoolArray) -> dict[str, float]:
    """How well the clean labels were kept, the figures of DeFT (Wei et al., NeurIPS 2024).

    Computed once over all rows; precision is 0 when nothing is kept, recall when nothing is clean.

    Parameters
    ----------
    kept, is_clean : ndarray of bool, shape (N,)
        Kept by the detector; truly clean.

    Returns
    -------
    dict
        ``precision``, ``recall`` and ``f1`` of the kept set.
    """
    hits = int((kept & is_clean).sum())
    precision = hits / max(int(kept.sum()), 1)
    recall = hits / max(int(is_clean.sum()), 1)
    f1 = 2 * precision * recall / (precision + recall) if hits else 0.0
    return {"precision": precision, "recall": recall, "f1": f1}


def errors_found(label_score: FloatArray, is_wrong: BoolArray) -> FloatArray:
    """How many wrong labels are among the n worst ones, for n = 0..N.

    Rows with equal scores are in no order, so each of them counts with their mean: the expectation
    over a random order.

    Parameters
    ----------
    label_score : ndarray, shape (N,)
        LOWER = worse; without NaN.
    is_wrong : ndarray of bool, shape (N,)
        Truly wrong.

    Examples
    --------
    >>> errors_found(np.array([0.1, 0.1, 0.9]), np.array([True, False, False])).tolist()
    [0.0, 0.5, 1.0, 1.0]
    """
    _, group, sizes = np.unique(label_score, return_inverse=True, return_counts=True)
    share = np.bincount(group, weights=is_wrong, minlength=len(sizes)) / sizes
    return np.concatenate([[0.0], np.repeat(share, sizes).cumsum()])


def precision_at_budget(
    label_score: FloatArray, is_wrong: BoolArray, budget: float
) -> float | None:
    """Share of wrong labels among the worst ceil(budget * N) rows; None without rows.

    Parameters
    ----------
    label_score, is_wrong
        See `errors_found`.
    budget : float
        Share of the rows that are looked at, in 0..1.
    """
    n = int(np.ceil(round(budget * len(label_score), 9)))
    return float(errors_found(label_score, is_wrong)[n] / n) if n else None


def reliability(probability: FloatArray, outcome: BoolArray) -> list[list[float]]:
    """Mean probability, share of true outcomes and number of rows of each non-empty bin.

    Parameters
    ----------
    probability : ndarray, shape (N,)
        In 0..1.
    outcome : ndarray of bool, shape (N,)
        What came true.
    """
    bins = np.minimum((probability * N_BINS).astype(int), N_BINS - 1)
    return [
        [float(probability[bins == b].mean()), float(outcome[bins == b].mean()), int(n)]
        for b, n in zip(*np.unique(bins, return_counts=True), strict=True)
    ]


def transition_matrix(truth: IntArray, given: IntArray, n_classes: int) -> FloatArray:
    """Shares P(given = column | true = row), (K, K); rows of NaN for classes without images.

    Parameters
    ----------
    truth, given : ndarray of int64, shape (N,)
        Labels.
    n_classes : int
        K.
    """
    counts = np.bincount(truth * n_classes + given, minlength=n_classes**2).astype(float)
    counts = counts.reshape(n_classes, n_classes)
    sizes = counts.sum(axis=1, keepdims=True)
    return np.where(sizes > 0, counts / np.maximum(sizes, 1), np.nan)


def matrix_error(estimate: FloatArray, actual: FloatArray) -> dict[str, float | None]:
    """How far an estimated noise matrix is from the actual one.

    Rows of NaN in `actual` (classes without images) are left out; classes count alike.

    Parameters
    ----------
    estimate, actual : ndarray, shape (K, K)
        P(given = column | true = row).

    Returns
    -------
    dict
        ``mean_absolute`` over entries; ``total_variation``, half the L1 distance of two rows,
        averaged over rows, and ``worst_row``, its largest value.
    """
    rows = ~np.isnan(actual).any(axis=1)
    if not rows.any():
        return {"mean_absolute": None, "total_variation": None, "worst_row": None}
    gap = np.abs(estimate[rows] - actual[rows])
    by_row = gap.sum(axis=1) / 2
    return {
        "mean_absolute": float(gap.mean()),
        "total_variation": float(by_row.mean()),
        "worst_row": float(by_row.max()),
    }


def macro_f1(predicted: IntArray, labels: IntArray, n_classes: int) -> float:
    """Mean F1 over the classes that occur among labels or predictions; -1 predicts nothing.

    Parameters
    ----------
    predicted, labels : ndarray of int64, shape (N,)
        Classes.
    n_classes : int
        K.
    """
    hits = np.bincount(labels[predicted == labels], minlength=n_classes)
    both = np.bincount(labels, minlength=n_classes)
    both = both + np.bincount(predicted[predicted >= 0], minlength=n_classes)
    return float((2 * hits[both > 0] / both[both > 0]).mean())


def expected_calibration_error(confidence: FloatArray, correct: BoolArray) -> float:
    """Mean gap between confidence and accuracy over 15 equal-width bins, weighted by their size.

    Parameters
    ----------
    confidence : ndarray, shape (N,)
        In 0..1.
    correct : ndarray of bool, shape (N,)
        Whether the prediction was right.
    """
    if len(confidence) == 0:
        return 0.0
    bins = np.minimum((confidence * N_BINS).astype(int), N_BINS - 1)
    gaps = np.bincount(bins, weights=correct - confidence, minlength=N_BINS)
    return float(np.abs(gaps).sum() / len(confidence))


def classification_metrics(
    probabilities: FloatArray, labels: IntArray, class_names: tuple[str, ...]
) -> dict[str, object]:
    """Accuracy, accuracy of each class, and calibration.

    Parameters
    ----------
    probabilities : ndarray, shape (N, K)
        Rows of NaN (unreadable images) count as wrong, with confidence 0.
    labels : ndarray of int64, shape (N,)
        True classes.
    class_names : tuple of str
        K names.

    Returns
    -------
    dict
        ``n``, ``accuracy``, ``mean_class_accuracy``, ``macro_f1``,
        ``expected_calibration_error`` and ``per_class`` (accuracy None for a class without
        images).
    """
    readable = ~np.isnan(probabilities[:, 0])
    filled = np.nan_to_num(probabilities)
    predicted = np.where(readable, filled.argmax(axis=1), -1)
    correct = predicted == labels
    sizes = np.bincount(labels, minlength=len(class_names))
    hits = np.bincount(labels, weights=correct, minlength=len(class_names))
    per_class = [
        {"class": name, "n": int(n), "accuracy": float(h / n) if n else None}
        for name, n, h in zip(class_names, sizes, hits, strict=True)
    ]
    return {
        "n": len(labels),
        "accuracy": float(correct.mean()),
        "mean_class_accuracy": float((hits[sizes > 0] / sizes[sizes > 0]).mean()),
        "macro_f1": macro_f1(predicted, labels, len(class_names)),
        "expected_calibration_error": expected_calibration_error(filled.max(axis=1), correct),
        "per_class": per_class,
    }
