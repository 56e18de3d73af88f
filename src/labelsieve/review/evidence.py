"""Why a label was flagged, in sentences: which signs speak against it and which for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.validation import FloatArray
from .table import IssueTable

Sign = dict[str, Any]


def evidence(
    table: IssueTable, row: int, neighbour_labels: list[int], sorted_scores: FloatArray
) -> list[Sign]:
    """The signs about the given label of a row.

    Parameters
    ----------
    table : IssueTable
        All rows.
    row : int
        Which one.
    neighbour_labels : list of int
        Labels of the nearest images; empty when there are none.
    sorted_scores : ndarray of float
        The label scores of all judged rows, ascending.

    Returns
    -------
    list of dict
        ``name``, ``text`` and ``against`` (True: against the given label, False: for it). Signs
        that cannot be read are left out; a row without a label has none.
    """
    if table.given[row] < 0 or np.isnan(table.label_score[row]):
        return []
    signs = [_score(table, row, sorted_scores), _clean(table, row), _prediction(table, row)]
    signs.append(_neighbours(table, row, neighbour_labels))
    return [sign for sign in signs if sign is not None]


def _score(table: IssueTable, row: int, scores: FloatArray) -> Sign:
    value = table.label_score[row]
    higher = 1.0 - float(np.searchsorted(scores, value, side="right")) / max(len(scores), 1)
    text = f"Label score {value:.3f}; {_percent(higher)} of all images score better"
    return _sign("Detector", text, bool(table.is_issue[row]))


def _clean(table: IssueTable, row: int) -> Sign | None:
    p = table.p_clean[row]
    if np.isnan(p):
        return None
    given = table.name(int(table.given[row]))
    return _sign(
        "Calibrated", f"“{given}” is right with a probability of {_percent(p)}", bool(p < 0.5)
    )


def _prediction(table: IssueTable, row: int) -> Sign | None:
    predicted, p = int(table.predicted[row]), table.p_predicted[row]
    if predicted < 0 or np.isnan(p):
        return None
    name, given = table.name(predicted), int(table.given[row])
    if predicted == given:
        return _sign("Prediction", f"the model sees “{name}” too, {_percent(p)}", False)
    share = (
        ""
        if np.isnan(table.p_given[row])
        else f", “{table.name(given)}” with {_percent(table.p_given[row])}"
    )
    return _sign("Prediction", f"the model sees “{name}” with {_percent(p)}{share}", True)


def _neighbours(table: IssueTable, row: int, labels: list[int]) -> Sign | None:
    if not labels:
        return None
    given = int(table.given[row])
    same = sum(label == given for label in labels)
    counts = {label: labels.count(label) for label in labels if label >= 0 and label != given}
    text = f"{same} of the {len(labels)} nearest images have this label"
    most = max(counts, key=lambda label: counts[label], default=-1)
    if most >= 0:
        text += f", {counts[most]} have “{table.name(most)}”"
    return _sign("Neighbours", text, most >= 0 and counts[most] > same)


def _sign(name: str, text: str, against: bool) -> Sign:
    return {"name": name, "text": text[0].upper() + text[1:], "against": against}


def _percent(share: float) -> str:
    value = 100 * float(share)
    if 0 < value < 1:
        return "under 1 %"
    return "over 99 %" if 99 < value < 100 else f"{value:.0f} %"
