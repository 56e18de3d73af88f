"""How many wrong labels are left, from the scan's probabilities and what people have found."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import expit, logit

from ..core.validation import BoolArray, FloatArray, IntArray
from .overlay import CODES
from .table import IssueTable

EDGES = np.array([0.05, 0.2, 0.5, 0.8, 0.95])
"""Bands of the probability that a label is wrong: 0..0.05, 0.05..0.2, and so on to 1."""
STRENGTH = 10.0
"""As many reviewed images of a band weigh as much as the scan's own probabilities."""
Z = 1.6449  # two-sided 90 % of a normal distribution


def wrong_probability(table: IssueTable) -> FloatArray:
    """1 - p_clean, shape (N,); 1 or 0 by the flag without it, NaN where nothing was judged."""
    fallback = np.where(np.isnan(table.p_clean), table.is_issue.astype(float), 1.0 - table.p_clean)
    return np.where(np.isnan(table.label_score), np.nan, fallback)


def corrected(wrong: FloatArray, flagged: BoolArray, known: dict[str, Any] | None) -> FloatArray:
    r"""Error probabilities (N,) as the scan's decisions correct them: sigmoid(logit(w) + d).

    Parameters
    ----------
    wrong : ndarray of float, shape (N,)
        From `wrong_probability`.
    flagged : ndarray of bool, shape (N,)
        Which labels look wrong.
    known : dict or None
        ``decisions`` of summary.json, with the shifts :math:`d` of flagged and unflagged rows; see
        `sieve.estimates`.
    """
    shifts = [
        ((known or {}).get(f"reviewed_{name}") or {}).get("shift", 0.0)
        for name in ("unflagged", "flagged")
    ]
    with np.errstate(divide="ignore"):  # 0 and 1 stay what they are
        return expit(logit(wrong) + np.where(flagged, shifts[1], shifts[0]))


def remaining_errors(
    wrong: FloatArray,
    decided: IntArray,
    *,
    flagged: BoolArray | None = None,
    held: BoolArray | None = None,
    model_logit_sd: float | None = None,
) -> dict[str, Any]:
    r"""Posterior mean of the number of wrong labels among the images that nobody has decided.

    The images are split into bands of the scan's probability :math:`w` that the label is wrong. In
    band :math:`b` the share of wrong labels has the prior
    :math:`Beta(s \bar w_b, s (1 - \bar w_b))`, where :math:`\bar w_b` is the mean of :math:`w` in
    the band and :math:`s` = `STRENGTH`. Of :math:`n_b` reviewed images :math:`x_b` were wrong (were
    given a new label, or dropped), and :math:`u_b` are open. Then

    .. math:: E = \sum_b u_b \frac{s \bar w_b + x_b}{s + n_b}

    which is the sum of :math:`w` before the first decision.

    Parameters
    ----------
    wrong : ndarray of float, shape (N,)
        From `wrong_probability`.
    decided : ndarray of int8, shape (N,)
        Codes of the decisions. "unsure" leaves an image open.
    flagged : ndarray of bool, shape (N,), optional
        The images whose expected precision is asked for.
    held : ndarray of bool, shape (N,), optional
        Images whose decision the scan held fixed: `wrong` is that decision, so they are no
        evidence about the others of their band.

    model_logit_sd : float, optional
        How far off the scan's noise rate may be by an error of its model, as the scan's interval
        has it: ``noise_rate`` of summary.json. Decisions since then make it smaller.

    Returns
    -------
    dict
        ``remaining``, its ``interval`` (90 %, normal approximation of the beta-binomial spread,
        with the error of the model),
        ``found`` (wrong labels found so far), ``reviewed`` (images with a firm decision), and from
        these ``noise_rate`` with ``noise_interval``, the share of wrong labels among all, and
        ``precision``, that among flagged images (None where there are none).
    """
    judged = ~np.isnan(wrong)
    w, code = wrong[judged], decided[judged]
    flags = np.zeros(len(w), dtype=bool) if flagged is None else flagged[judged]
    fixed = np.zeros(len(w), dtype=bool) if held is None else held[judged]
    band = np.searchsorted(EDGES, w, side="right")
    bad = (code == CODES["relabel"]) | (code == CODES["drop"])
    firm = bad | (code == CODES["keep"])
    tells = ~(fixed & firm)
    size = len(EDGES) + 1
    n_all, n_firm, n_bad, total = (
        np.bincount(band, weights=weights.astype(float), minlength=size)
        for weights in (tells, firm & tells, bad & tells, w * tells)
    )
    alpha = STRENGTH * total / np.maximum(n_all, 1.0) + n_bad
    weight = STRENGTH + n_firm
    rate, n_open = alpha / weight, n_all - n_firm
    # beta-binomial: the spread of the rate and that of a finite number of images
    variance = n_open * rate * (1.0 - rate) * (weight + n_open) / (weight + 1.0)
    mean = float((n_open * rate).sum())
    # never below that of as many images with one common rate, which the scan takes
    common = max(mean * (1.0 - mean / max(float(n_open.sum()), 1.0)), 0.0)
    squares = max(float(variance.clip(0).sum()), common)
    squares += _model_variance(model_logit_sd, common, w[firm & tells])
    spread = Z * math.sqrt(squares)
    low, high = max(0.0, mean - spread), min(float(n_open.sum()), mean + spread)
    found, n = int(bad.sum()), max(len(w), 1)
    hits = np.where(firm, bad, rate[band])[flags]
    return {
        "remaining": mean,
        "interval": [low, high],
        "found": found,
        "reviewed": int(firm.sum()),
        "noise_rate": (found + mean) / n,
        "noise_interval": [(found + low) / n, (found + high) / n],
        "precision": float(hits.mean()) if len(hits) else None,
    }


def _model_variance(error: float | None, slope: float, seen: FloatArray) -> float:
    """Variance of the number of open errors by the model's; see `sieve.estimates.ErrorEstimate`.

    Parameters
    ----------
    error : float or None
        Standard deviation of the log-odds of the noise rate, after the decisions of the scan.
    slope : float
        Change of the expected errors among the open images with the log-odds of their rate.
    seen : ndarray, shape (M,)
        Error probabilities of the images that were decided since.
    """
    if error is None:
        return 0.0
    told = float((seen * (1.0 - seen)).sum())
    return slope**2 / (1.0 / error**2 + told)
