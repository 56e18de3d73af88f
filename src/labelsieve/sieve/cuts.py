"""What looking at the worst images first should find, at every cut of the list."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.exceptions import InputError
from ..core.validation import FloatArray, IntArray, check_number
from ..detectors import AbstractDetector
from .decisions import HeldLabels
from .estimates import estimate_errors, share_interval

SHARES = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)


def review_order(detector: AbstractDetector, held: HeldLabels | None = None) -> IntArray:
    """Rows to look at, worst label score first; without those that are decided or not judged."""
    scores = detector.label_score_
    left = ~np.isnan(scores)
    if held is not None:
        left &= ~held.decided
    rows = np.flatnonzero(left)
    return rows[np.argsort(scores[rows], kind="stable")]


def wrong_in_order(
    detector: AbstractDetector, held: HeldLabels | None = None
) -> tuple[FloatArray, float | None] | None:
    """Error probabilities of `review_order` and the model's error; None without probabilities."""
    found = estimate_errors(detector, held)
    if not found.has_probabilities:
        return None
    wrong = np.full(len(detector.label_score_), np.nan)
    wrong[~np.isnan(detector.label_score_)] = found.wrong
    return wrong[review_order(detector, held)], found.error_of(found.precision_logit_sd)


def expected_cuts(
    wrong: FloatArray, sizes: list[int], error: float | None = None
) -> list[dict[str, Any]]:
    """What the first rows of a list should hold.

    Parameters
    ----------
    wrong : ndarray, shape (M,)
        Error probabilities in the order of the list.
    sizes : list of int
        Lengths of the cuts; those beyond M are cut to M.
    error : float, optional
        How far off the log-odds of the precision may be, see `share_interval`.

    Returns
    -------
    list of dict
        ``n`` rows with ``errors`` among them, ``precision`` (their share) with its ``interval``
        (None without `error`) and ``recall`` (the share of all errors of the list), all expected.

    Examples
    --------
    >>> expected_cuts(np.array([1.0, 0.5, 0.0, 0.5]), [2])
    [{'n': 2, 'errors': 1.5, 'precision': 0.75, 'interval': None, 'recall': 0.75}]
    """
    sums, total = np.cumsum(wrong), float(wrong.sum())
    found = []
    for n in sorted({min(size, len(wrong)) for size in sizes if size > 0 and len(wrong)}):
        errors = float(sums[n - 1])
        recall = errors / total if total > 0 else 0.0
        precision = {"precision": errors / n, "interval": share_interval(wrong[:n], error)}
        found.append({"n": n, "errors": errors, **precision, "recall": recall})
    return found


def cut_figures(detector: AbstractDetector, held: HeldLabels | None = None) -> list[dict[str, Any]]:
    """Expected figures at shares of the list and at the flagged set's size; empty if unknown."""
    known = wrong_in_order(detector, held)
    if known is None:
        return []
    flagged = detector.is_label_issue_[review_order(detector, held)]
    return expected_cuts(known[0], cut_sizes(len(flagged), int(flagged.sum())), known[1])


def cut_sizes(n_rows: int, n_flagged: int) -> list[int]:
    """Some shares of a list, and its flagged rows."""
    return [round(share * n_rows) for share in SHARES] + [n_flagged]


def budget_figures(
    detector: AbstractDetector, budget: int, held: HeldLabels | None = None
) -> dict[str, Any]:
    """The rows to look at first, and what they should hold.

    Parameters
    ----------
    detector : AbstractDetector
        Fitted.
    budget : int
        Images that somebody has time for, at least 1.
    held : HeldLabels, optional
        What people decided; those rows are not looked at again.

    Returns
    -------
    dict
        ``rows`` (in order), ``n`` and, None where the detector has no probabilities, ``errors``,
        ``precision``, its ``interval`` and ``recall``.

    Raises
    ------
    InputError
        If the budget is below 1, or nothing is left to look at.
    """
    check_number(budget, name="budget", low=1, integer=True)
    rows = review_order(detector, held)[:budget]
    if not len(rows):
        raise InputError("there is nothing to spend a budget on: every judged label is decided")
    known = wrong_in_order(detector, held)
    figures = dict.fromkeys(("n", "errors", "precision", "interval", "recall")) | {"n": len(rows)}
    if known is not None:
        figures = expected_cuts(known[0], [len(rows)], known[1])[0]
    return {"rows": rows.tolist(), **figures}
