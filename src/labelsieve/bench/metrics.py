"""Figures of merit for detectors and classifiers, each computed once over all rows."""

from __future__ import annotations

import numpy as np
from sklearn.metrics import average_precision_score, roc_auc_score

from ..core.validation import BoolArray, FloatArray, IntArray

N_BINS = 15


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
        ``n``, ``accuracy``, ``mean_class_accuracy``, ``expected_calibration_error`` and
        ``per_class`` (accuracy None for a class without images).
    """
    readable = ~np.isnan(probabilities[:, 0])
    filled = np.nan_to_num(probabilities)
    correct = readable & (filled.argmax(axis=1) == labels)
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
        "expected_calibration_error": expected_calibration_error(filled.max(axis=1), correct),
        "per_class": per_class,
    }
