"""How many wrong labels are left, from the scan's probabilities and what people have found."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core.validation import FloatArray, IntArray
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


def remaining_errors(wrong: FloatArray, decided: IntArray) -> dict[str, Any]:
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

    Returns
    -------
    dict
        ``remaining``, its ``interval`` (90 %, normal approximation of the beta-binomial spread),
        ``found`` (wrong labels found so far) and ``reviewed`` (images with a firm decision).
    """
    judged = ~np.isnan(wrong)
    w, code = wrong[judged], decided[judged]
    band = np.searchsorted(EDGES, w, side="right")
    bad = (code == CODES["relabel"]) | (code == CODES["drop"])
    firm = bad | (code == CODES["keep"])
    size = len(EDGES) + 1
    n_all, n_firm, n_bad, total = (
        np.bincount(band, weights=weights.astype(float), minlength=size)
        for weights in (np.ones(len(w)), firm, bad, w)
    )
    alpha = STRENGTH * total / np.maximum(n_all, 1.0) + n_bad
    weight = STRENGTH + n_firm
    rate, n_open = alpha / weight, n_all - n_firm
    # beta-binomial: the spread of the rate and that of a finite number of images
    variance = n_open * rate * (1.0 - rate) * (weight + n_open) / (weight + 1.0)
    mean, spread = float((n_open * rate).sum()), Z * math.sqrt(float(variance.clip(0).sum()))
    return {
        "remaining": mean,
        "interval": [max(0.0, mean - spread), min(float(n_open.sum()), mean + spread)],
        "found": int(bad.sum()),
        "reviewed": int(firm.sum()),
    }
