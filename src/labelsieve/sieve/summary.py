"""What a scan found, in figures: counts, noise rate, noise matrix, expected precision."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..core.validation import FloatArray, IntArray
from ..data import LabeledImages
from ..detectors import AbstractDetector
from ..detectors.issues import ACTIONS
from .cuts import cut_figures
from .decisions import HeldLabels
from .estimates import decided_figures, estimate_errors, expected, noise_rate

log = logging.getLogger(__name__)
NEARLY_ALL = 0.9
FEW = 5  # labels of a class of which nothing is said
MOST_NAMED = 10


def clean_probability(detector: AbstractDetector) -> FloatArray:
    """p_clean of the judged rows; 0 or 1 by the flag where the detector has no probability."""
    judged = ~np.isnan(detector.label_score_)
    fallback = 1.0 - detector.is_label_issue_[judged]
    p = detector.p_clean_[judged]
    return np.where(np.isnan(p), fallback, p)


def noise_matrix(
    detector: AbstractDetector, given_labels: IntArray, held: HeldLabels | None = None
) -> FloatArray:
    """Estimated P(given | true), shape (K, K); rows are true classes and sum to 1.

    A detector that learns one (`noise_matrix_`) is believed, unless it saw decided labels in place
    of the given ones. Otherwise a decided row counts for its true class and the given label of each
    judged row counts with its clean probability, and the rest of the weight goes to the other
    classes in proportion to their probabilities. Entry (k, k) carries one pseudo-count, so a class
    that is nobody's true class reads as free of noise.

    Parameters
    ----------
    detector : AbstractDetector
        Fitted.
    given_labels : ndarray of int64, shape (N,)
        The labels of the data.
    held : HeldLabels, optional
        What people decided.
    """
    learned = getattr(detector, "noise_matrix_", None)
    if learned is not None and (held is None or hasattr(detector, "known_labels_")):
        return learned
    judged = ~np.isnan(detector.label_score_)
    labels, clean = given_labels[judged], clean_probability(detector)
    others = detector.probabilities_[judged].copy()
    rows, n_classes = np.arange(len(labels)), others.shape[1]
    others[rows, labels] = 0.0
    others += 1e-12
    others[rows, labels] = 0.0
    weights = others / others.sum(axis=1, keepdims=True) * (1.0 - clean)[:, None]
    weights[rows, labels] = clean
    if held is not None:
        weights[held.decided[judged]] = 0.0
        known = held.label[judged]
        weights[rows[known >= 0], known[known >= 0]] = 1.0
    joint = np.zeros((n_classes, n_classes))  # given x true
    np.add.at(joint, labels, weights)
    joint = joint.T + np.eye(n_classes)
    return joint / joint.sum(axis=1, keepdims=True)


def summarize(
    detector: AbstractDetector,
    images: LabeledImages,
    matrix: FloatArray,
    held: HeldLabels | None = None,
) -> dict[str, Any]:
    """The content of summary.json.

    Parameters
    ----------
    detector : AbstractDetector
        Fitted to `images`.
    images : LabeledImages
        The data set.
    matrix : ndarray, shape (K, K)
        Estimated noise matrix.
    held : HeldLabels, optional
        What people decided.

    Returns
    -------
    dict
        Plain numbers and texts, ready for JSON.
    """
    table = detector.issues_.table
    found = estimate_errors(detector, held)
    judged = ~np.isnan(detector.label_score_)
    open_rows = judged if held is None else judged & ~held.decided
    size = len(images.class_names)
    notes = doubted_classes(
        images.class_names,
        np.bincount(images.given_labels[open_rows], minlength=size),
        np.bincount(images.given_labels[open_rows & detector.is_label_issue_], minlength=size),
    )
    for note in notes:
        log.warning("%s", note)
    return {
        "n_images": len(table),
        "n_unreadable": int(np.isnan(detector.probabilities_[:, 0]).sum()),
        "n_unlabeled": int((images.given_labels < 0).sum()),
        "n_classes": len(images.class_names),
        "n_label_issues": int(detector.is_label_issue_.sum()),
        "actions": {action: int((table["action"] == action).sum()) for action in ACTIONS},
        "noise_rate": noise_rate(found),
        "expected": expected(found),
        "cuts": cut_figures(detector, held),
        "decisions": decided_figures(found, held),
        "per_class": _per_class(detector, images, 1.0 - found.wrong, judged),
        "per_pair": _per_pair(detector),
        "noise_matrix_diagonal_mean": float(np.diag(matrix).mean()),
        "warnings": [*images.notes, *notes],
    }


def doubted_classes(names: Sequence[str], judged: IntArray, flagged: IntArray) -> list[str]:
    """A note on classes whose labels nearly all look wrong, if there are any.

    People rarely give a label that is nearly always wrong. Models often do not know a name, and
    then its expected precision does not hold.

    Parameters
    ----------
    names : sequence of str
        K class names.
    judged, flagged : ndarray of int64, shape (K,)
        Labels of each class, and those among them that look wrong.

    Examples
    --------
    >>> doubted_classes(["cat", "Felidae"], np.array([9, 30]), np.array([1, 29]))[0][:42]
    "nearly all labels of 'Felidae' (29 of 30) "
    """
    found = np.flatnonzero((judged >= FEW) & (flagged >= NEARLY_ALL * judged))
    if not len(found):
        return []
    shown = [f"{names[k]!r} ({flagged[k]:,} of {judged[k]:,})" for k in found[:MOST_NAMED]]
    more = f" and {len(found) - MOST_NAMED} more classes" if len(found) > MOST_NAMED else ""
    return [
        f"nearly all labels of {', '.join(shown)}{more} look wrong: look at some of them. If they "
        "are right, the model does not know the name, and the estimates do not hold; give other "
        "words for it with --class-names (see 'Words for prompts' in the documentation)"
    ]


def _per_class(
    detector: AbstractDetector, images: LabeledImages, clean: FloatArray, judged: Any
) -> list[dict[str, Any]]:
    """Counts and estimated noise of each given class."""
    n_classes = len(images.class_names)
    given = images.given_labels
    sizes = np.bincount(given[given >= 0], minlength=n_classes)
    issues = np.bincount(given[detector.is_label_issue_], minlength=n_classes)
    wrong = np.bincount(given[judged], weights=1 - clean, minlength=n_classes)
    suggested = detector.suggested_label_
    into = np.bincount(suggested[suggested >= 0], minlength=n_classes)
    in_class = np.bincount(given[judged], minlength=n_classes)
    return [
        {
            "class": name,
            "n": int(sizes[k]),
            "n_issues": int(issues[k]),
            "estimated_noise_rate": float(wrong[k] / in_class[k]) if in_class[k] else None,
            "n_suggested_here": int(into[k]),
        }
        for k, name in enumerate(images.class_names)
    ]


def _per_pair(detector: AbstractDetector) -> list[dict[str, Any]]:
    """Issues by (given, suggested), most first; without those that fit no class."""
    table = detector.issues_.table
    found = table[table["is_label_issue"] & table["suggested_label"].notna()]
    pairs = Counter(zip(found["given_label"], found["suggested_label"], strict=True))
    ordered = sorted(pairs.items(), key=lambda item: (-item[1], item[0]))
    return [{"given": g, "suggested": s, "n": n} for (g, s), n in ordered]
