"""In which order people look at rows."""

from __future__ import annotations

import numpy as np

from ..core.validation import FloatArray, IntArray
from .table import IssueTable

ORDERS = ("worst", "gain", "class")


def expected_gain(table: IssueTable) -> FloatArray:
    r"""The chance that what the scan proposes is wrong: what a person's look is worth.

    With :math:`w = 1 - p_{clean}` the chance is :math:`w` where the scan keeps the label or has no
    firm proposal, :math:`1 - w` where it drops the image, and
    :math:`1 - w \, p_{predicted} / (1 - p_{given})` where it relabels: the given label must be
    wrong, and among the other classes the suggested one must be right.

    Parameters
    ----------
    table : IssueTable
        Where it has no `p_clean`, `p_given` stands in.

    Returns
    -------
    ndarray of float, shape (N,)
        In 0..1; NaN where there is no label or no image.
    """
    clean = np.where(np.isnan(table.p_clean), table.p_given, table.p_clean)
    wrong = 1.0 - clean
    others = np.maximum(1.0 - table.p_given, 1e-9)
    right = wrong * np.minimum(1.0, table.p_predicted / others)
    gain = np.where(table.action == "relabel", 1.0 - right, wrong)
    gain = np.where(table.action == "drop", clean, gain)
    return np.where(np.isnan(table.label_score), np.nan, np.clip(gain, 0.0, 1.0))


def orders(table: IssueTable) -> dict[str, IntArray]:
    """Row numbers in each of `ORDERS`, shape (N,) each; what was not judged comes last.

    "worst" is the order of `LabelIssues.worst` (issues before the rest, then by label score),
    "gain" puts the greatest expected gain first, "class" goes by given class and then as "worst".
    """
    unjudged = np.isnan(table.label_score)
    scores = np.nan_to_num(table.label_score, nan=2.0)
    worst = np.lexsort((scores, ~table.is_issue, unjudged))
    gain = np.lexsort((scores, -np.nan_to_num(expected_gain(table), nan=-1.0)))
    classes = np.where(table.given < 0, len(table.names), table.given)
    return {
        "worst": worst,
        "gain": gain,
        "class": np.lexsort((scores, ~table.is_issue, unjudged, classes)),
    }
