"""How many given labels are wrong, from clean probabilities and from what people decided.

Decided rows count exactly. The error probability w = 1 - p_clean of every other row is corrected
by what was observed in the rows that were looked at, flagged and unflagged rows apart:

    w' = sigmoid(logit(w) + d),   d solves   sum_i (y_i - sigmoid(logit(w_i) + d)) = d

over the decided rows i, with y_i = 1 where the label turned out wrong and w_i the probability
before the row's own decision. That is recalibration of the intercept alone (Cox, Biometrika 1958;
Steyerberg, Clinical Prediction Models, ch. 15), with a standard normal prior on d so that a few
decisions move it little. It holds for rows that were chosen by their score, worst first, where the
plain share of wrong labels among them would be too high for the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from ..core.validation import BoolArray, FloatArray
from ..detectors import AbstractDetector
from ..selection.latent_labels import largest_expected_f1
from .decisions import HeldLabels

CONFIDENCE = 0.9
Z = 1.6449  # two-sided 90 % of a normal distribution
LEAST = 1e-6  # probabilities are kept this far from 0 and 1 before their logit
LARGEST_SHIFT = 40.0


@dataclass(frozen=True)
class ErrorEstimate:
    """Error probabilities of the judged rows.

    Attributes
    ----------
    wrong : ndarray, shape (M,)
        Probability that the given label is wrong: 0 or 1 in decided rows, corrected elsewhere.
    flagged : ndarray of bool, shape (M,)
        Which labels look wrong, or are known to be.
    decided : ndarray of bool, shape (M,)
        Rows that people decided.
    has_probabilities : bool
        Whether the detector has a probability for every row that nobody decided; where it has
        none, `wrong` is its flag.
    corrections : dict
        For "reviewed_flagged" and "reviewed_unflagged" rows, ``n``, ``n_wrong``, ``expected_wrong``
        (by the model), ``shift`` (d) and ``information`` (sum of w (1 - w)); None where there are
        none or the detector cannot say.
    rate_logit_sd : float or None
        How far off the detector's noise rate was on label sets with a known truth: the standard
        deviation of its log-odds. None where that was not measured.
    precision_logit_sd : float or None
        The same for the expected precision of the worst labels.
    """

    wrong: FloatArray
    flagged: BoolArray
    decided: BoolArray
    has_probabilities: bool
    corrections: dict[str, dict[str, float] | None]
    rate_logit_sd: float | None = None
    precision_logit_sd: float | None = None

    def error_of(self, measured: float | None) -> float | None:
        """The standard deviation s of log-odds after decisions; None where it was not measured.

        Before decided rows i were seen the log-odds had the variance s^2, afterwards
        1 / (1 / s^2 + sum_i w_i (1 - w_i)).
        """
        if measured is None:
            return None
        told = sum(c["information"] for c in self.corrections.values() if c is not None)
        return (1.0 / measured**2 + told) ** -0.5


def estimate_errors(detector: AbstractDetector, held: HeldLabels | None = None) -> ErrorEstimate:
    """Error probabilities from a fitted detector and decisions.

    Parameters
    ----------
    detector : AbstractDetector
        Fitted; with `held`, by `fit_held`.
    held : HeldLabels, optional
        What people decided.
    """
    judged = ~np.isnan(detector.label_score_)
    flagged, clean = detector.is_label_issue_[judged], detector.p_clean_[judged]
    decided = np.zeros(len(clean), dtype=bool) if held is None else held.decided[judged]
    known = ~np.isnan(clean)
    wrong = np.where(known, 1.0 - clean, flagged)
    corrections: dict[str, dict[str, float] | None] = {
        "reviewed_flagged": None,
        "reviewed_unflagged": None,
    }
    alone = getattr(detector, "model_p_clean_", None)
    if alone is not None and decided.any():
        before = 1.0 - alone[judged]  # NaN where people dropped the image
        would_flag = np.zeros(len(before), dtype=bool)
        seen = np.isfinite(before)
        would_flag[seen] = largest_expected_f1(1.0 - before[seen])
        for name, group in (("reviewed_flagged", would_flag), ("reviewed_unflagged", ~would_flag)):
            looked_at, rest = group & decided & seen, group & ~decided
            if looked_at.any():
                shift = intercept_shift(before[looked_at], wrong[looked_at])
                wrong[rest] = expit(logit(_inside(wrong[rest])) + shift)
                corrections[name] = {
                    "n": int(looked_at.sum()),
                    "n_wrong": int(wrong[looked_at].sum()),
                    "expected_wrong": float(before[looked_at].sum()),
                    "shift": shift,
                    "information": float((before[looked_at] * (1 - before[looked_at])).sum()),
                }
    measured = (getattr(detector, f"{name}_logit_sd", None) for name in ("rate", "precision"))
    complete = bool(known[~decided].all())
    return ErrorEstimate(wrong, flagged, decided, complete, corrections, *measured)


def intercept_shift(probabilities: FloatArray, outcomes: FloatArray) -> float:
    """The shift d of log-odds that fits outcomes best, under a standard normal prior on d.

    Parameters
    ----------
    probabilities : ndarray, shape (M,)
        Predicted probabilities of 1.
    outcomes : ndarray, shape (M,)
        0 or 1.

    Examples
    --------
    >>> intercept_shift(np.array([0.5, 0.5]), np.array([1.0, 0.0]))
    0.0
    """
    odds = logit(_inside(probabilities))

    def slope(shift: float) -> float:
        return float((outcomes - expit(odds + shift)).sum()) - shift

    if slope(0.0) == 0.0:
        return 0.0
    return float(brentq(slope, -LARGEST_SHIFT, LARGEST_SHIFT))  # type: ignore[arg-type]


def noise_rate(found: ErrorEstimate) -> dict[str, Any]:
    """The share of wrong labels, with an interval.

    The interval adds the variance of a finite sample to that of an error of the model, whose size
    was measured (`rate_logit_sd`) and which decided rows make smaller (`ErrorEstimate.error_of`);
    ``model_logit_sd`` is that size, None where it was not measured.
    """
    n, rate = len(found.wrong), float(found.wrong.mean())
    rest = found.wrong[~found.decided]
    half = 0.0
    if len(rest):
        uniform = float(rest.mean() * (1 - rest.mean())) * len(rest)
        spread = float((rest * (1 - rest)).sum()) if found.has_probabilities else uniform
        variance = max(spread, uniform) / n**2
        half = Z * math.sqrt(variance + _model_variance(found, rest, n))
    method = "mean of 1 - p_clean" if found.has_probabilities else "share of flagged labels"
    if found.decided.any():
        method += f"; {int(found.decided.sum())} decided rows count exactly"
    if any(found.corrections.values()):
        method += ", and correct the model's probabilities of the others"
    covers = "the spread of a finite sample"
    if found.rate_logit_sd is None:
        covers += ", not an error of the model"
    else:
        covers += ", and an error of the model as large as on label sets with a known truth"
    return {
        "estimate": rate,
        "interval": [max(0.0, rate - half), min(1.0, rate + half)],
        "confidence": CONFIDENCE,
        "method": f"{method}; the interval covers {covers}",
        "model_logit_sd": found.error_of(found.rate_logit_sd),
    }


def _model_variance(found: ErrorEstimate, rest: FloatArray, n: int) -> float:
    """Variance of the rate by the model's error, in rows that nobody decided."""
    error = found.error_of(found.rate_logit_sd)
    if error is None:
        return 0.0
    slope = float(rest.mean() * (1 - rest.mean())) * len(rest) / n
    return (error * slope) ** 2


def expected(found: ErrorEstimate) -> dict[str, Any]:
    """Expected precision (with an interval) and recall of the flagged set.

    None without probabilities; the interval also where the error of the model was not measured.
    """
    if not found.has_probabilities:
        names = ("precision", "precision_interval", "recall", "n_errors")
        return dict.fromkeys(names)
    wrong, total = found.wrong[found.flagged], float(found.wrong.sum())
    error = found.error_of(found.precision_logit_sd)
    return {
        "precision": float(wrong.mean()) if len(wrong) else None,
        "precision_interval": share_interval(wrong, error),
        "recall": float(wrong.sum()) / total if total > 0 else None,
        "n_errors": total,
    }


def share_interval(wrong: FloatArray, error: float | None) -> list[float] | None:
    """Where the share of wrong labels among some rows lies, with the confidence of a scan.

    On the scale of log-odds, with the variance of a finite sample and that of the model's error.
    Its ends are shares that M rows can have, rounded outwards: among 50 rows whose share lies
    between 0.91 and 0.998 there may be 45 to 50 errors.

    Parameters
    ----------
    wrong : ndarray, shape (M,)
        Error probabilities; 0 or 1 in decided rows.
    error : float or None
        Standard deviation of the log-odds by the model's error.

    Returns
    -------
    list of float or None
        None without rows or without a measured error.

    Examples
    --------
    >>> [round(x, 2) for x in share_interval(np.full(400, 0.5), 0.7)]
    [0.24, 0.76]
    >>> share_interval(np.full(5, 0.9), 0.7)
    [0.2, 1.0]
    """
    if error is None or not len(wrong):
        return None
    exact, open_share = float(wrong.mean()), float(((wrong > 0) & (wrong < 1)).mean())
    if not open_share:  # nothing is left to doubt
        return [exact, exact]
    share = min(max(exact, LEAST), 1.0 - LEAST)
    sampling = float((wrong * (1 - wrong)).sum()) / (len(wrong) * share * (1 - share)) ** 2
    half = Z * math.sqrt(sampling + (error * open_share) ** 2)
    low, high = expit(logit(share) + np.array([-half, half])) * len(wrong)
    return [math.floor(low) / len(wrong), math.ceil(high) / len(wrong)]


def decided_figures(found: ErrorEstimate, held: HeldLabels | None) -> dict[str, Any] | None:
    """What was decided, and what is expected of the rows that are left; None without decisions."""
    if held is None:
        return None
    left = ~found.decided
    n_left = int((found.flagged & left).sum())
    hits = float(found.wrong[found.flagged & left].sum())
    told = found.has_probabilities
    counts = {action: int((held.action == action).sum()) for action in ("keep", "relabel", "drop")}
    return {
        "n": len(held.decisions),
        **counts,
        "unsure": int((held.action == "unsure").sum()),
        **found.corrections,
        "n_flagged_left": n_left,
        "expected_precision_left": hits / n_left if told and n_left else None,
        "expected_errors_left": float(found.wrong[left].sum()) if told else None,
    }


def _inside(probabilities: FloatArray) -> FloatArray:
    return np.clip(probabilities, LEAST, 1.0 - LEAST)
