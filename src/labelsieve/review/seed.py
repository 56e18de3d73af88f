"""Decisions that a scan was made with become decisions of its review."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ..core.validation import BoolArray
from ..sieve.decision_files import TABLE, read_decisions
from .store import Decision, DecisionStore
from .table import IssueTable

FIRM = ("keep", "relabel", "drop")


def seeded(store: DecisionStore, folder: Path, table: IssueTable) -> BoolArray:
    """Take over ``decisions.csv`` for images that the review has no history of.

    Parameters
    ----------
    store : DecisionStore
        Of the review; what it knows of an image has the last word.
    folder : Path
        Of the scan.
    table : IssueTable
        Its rows.

    Returns
    -------
    ndarray of bool, shape (N,)
        Rows whose decision the scan held fixed.
    """
    held = np.zeros(len(table), dtype=bool)
    if not (folder / TABLE).is_file():
        return held
    rows = {identifier: row for row, identifier in enumerate(table.ids)}
    classes = set(table.names[: table.n_classes])
    known = [
        row
        for row in read_decisions(folder / TABLE).rows
        if row.id in rows and (row.action != "relabel" or row.label in classes)
    ]
    labels = [row.label if row.action in ("keep", "relabel") else None for row in known]
    store.seed(
        [
            Decision(row.id, row.action, label, row.reviewer, row.time)
            for row, label in zip(known, labels, strict=True)
        ]
    )
    held[[rows[row.id] for row in known if row.action in FIRM]] = True
    return held
