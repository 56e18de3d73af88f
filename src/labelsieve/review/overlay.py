"""Decisions by row, kept in memory and in step with the file."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np

from ..core.validation import IntArray
from .store import ACTIONS, UNDO, Decision, DecisionStore

CODES = {action: code for code, action in enumerate(ACTIONS, start=1)}
"""Decisions as small numbers; 0 is none."""


class Overlay:
    """What has been decided about the rows of a table.

    Parameters
    ----------
    store : DecisionStore
        Read incrementally, so decisions of other processes arrive too.
    ids : list of str
        The id of every row.
    """

    def __init__(self, store: DecisionStore, ids: list[str]):
        self.store = store
        self.rows = {identifier: row for row, identifier in enumerate(ids)}
        self.codes: IntArray = np.zeros(len(ids), dtype=np.int8)
        self.seq = 0
        self._latest: dict[int, Decision] = {}
        self._lock = threading.Lock()

    def sync(self) -> None:
        """Take over what has been written since the last call."""
        with self._lock:
            for decision in self.store.since(self.seq):
                self.seq = decision.version
                row = self.rows.get(decision.id)
                if row is not None:
                    self._latest[row] = decision
                    self.codes[row] = CODES.get(decision.action, 0)

    def at(self, row: int) -> Decision | None:
        """The last entry about a row in the history; its action may be "undo"."""
        return self._latest.get(row)

    def entry(self, row: int) -> dict[str, Any]:
        """Decision and version of a row, ready for JSON."""
        return decision_entry(self.at(row))

    def label(self, row: int, given: int, index: dict[str, int]) -> int:
        """The label that holds for a row: the decided one, else the given one."""
        decision = self.at(row)
        if decision is None or decision.action != "relabel":
            return given
        return index.get(decision.label or "", given)


def decision_entry(decision: Decision | None) -> dict[str, Any]:
    """A decision and its version, ready for JSON."""
    if decision is None:
        return {"decision": None, "version": 0}
    if decision.action == UNDO:
        return {"decision": None, "version": decision.version}
    shown = {
        "action": decision.action,
        "label": decision.label,
        "reviewer": decision.reviewer,
        "time": decision.time,
    }
    return {"decision": shown, "version": decision.version}
