"""The mix-ups of the flagged rows: which label was given for which."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.validation import IntArray
from .overlay import CODES
from .table import IssueTable

MAX_PAIRS = 200
PREVIEW = 6


def frequent_pairs(table: IssueTable, decided: IntArray) -> list[dict[str, Any]]:
    """The most frequent (given, suggested) pairs among the flagged rows.

    Parameters
    ----------
    table : IssueTable
        The rows.
    decided : ndarray of int8, shape (N,)
        Codes of the decisions.

    Returns
    -------
    list of dict
        ``given``, ``suggested``, ``n`` (rows), ``decided`` (of them) and ``rows``, the worst few
        for a preview; at most `MAX_PAIRS` pairs, most frequent first.
    """
    size = len(table.names)
    rows = np.flatnonzero(table.is_flagged & (table.given >= 0) & (table.suggested >= 0))
    rows = rows[np.argsort(table.label_score[rows], kind="stable")]
    keys = table.given[rows] * size + table.suggested[rows]
    found, group, counts = np.unique(keys, return_inverse=True, return_counts=True)
    firm = ~np.isin(decided[rows], (0, CODES["unsure"]))
    done = np.bincount(group, weights=firm, minlength=len(found))
    grouped, ends = rows[np.argsort(group, kind="stable")], np.cumsum(counts)
    return [
        {
            "given": int(found[k] // size),
            "suggested": int(found[k] % size),
            "n": int(counts[k]),
            "decided": int(done[k]),
            "rows": grouped[ends[k] - counts[k] : ends[k]][:PREVIEW].tolist(),
        }
        for k in np.argsort(-counts, kind="stable")[:MAX_PAIRS]
    ]
