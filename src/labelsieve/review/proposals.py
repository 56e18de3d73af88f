"""Decisions as they come from a page, checked before anything is saved."""

from __future__ import annotations

from typing import Any

from ..core.exceptions import InputError, gather
from .store import ACTIONS, UNDO, Proposal
from .table import IssueTable

MAX_DECISIONS = 1_000  # in one request


def read_proposals(wanted: Any, table: IssueTable) -> list[Proposal]:
    """Turn the decisions of a request into proposals.

    Parameters
    ----------
    wanted : list of dict
        Each with ``row``, ``action``, ``version`` and, for "relabel", ``label`` (a class name).
    table : IssueTable
        The rows and classes.

    Raises
    ------
    InputError
        If an entry is not well formed; the first ten problems in one message.
    """
    if not isinstance(wanted, list) or not 1 <= len(wanted) <= MAX_DECISIONS:
        raise InputError(f"decisions must be a list of 1 to {MAX_DECISIONS} entries")
    classes = frozenset(table.names[: table.n_classes])
    entries = [entry if isinstance(entry, dict) else {} for entry in wanted]
    problems = [text for entry in entries if (text := _problem(entry, len(table), classes))]
    gather(problems[:10], what="decisions")
    return [_proposal(entry, table) for entry in entries]


def _problem(entry: dict[str, Any], n_rows: int, classes: frozenset[str]) -> str:
    row, action, label, version = (entry.get(k) for k in ("row", "action", "label", "version"))
    if type(row) is not int or not 0 <= row < n_rows:
        return f"row {str(row)[:40]!r} must be a whole number in 0..{n_rows - 1}"
    if type(version) is not int:
        return f"row {row}: version {str(version)[:40]!r} must be a whole number"
    if action not in (*ACTIONS, UNDO):
        return f"row {row}: action {str(action)[:40]!r} must be {', '.join(ACTIONS)} or {UNDO}"
    if action == "relabel" and not (isinstance(label, str) and label in classes):
        return f"row {row}: label {str(label)[:80]!r} is not a class of classes.json"
    return ""


def _proposal(entry: dict[str, Any], table: IssueTable) -> Proposal:
    """Giving the given label again keeps it; "keep" notes which label that is."""
    row, action, given = entry["row"], entry["action"], table.name(int(table.given[entry["row"]]))
    if action == "relabel" and entry["label"] == given:
        action = "keep"
    label = {"relabel": entry.get("label"), "keep": given}.get(action)
    return Proposal(table.ids[row], action, label, entry["version"])
