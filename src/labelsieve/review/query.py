"""Which rows a page asks for: filters, order, and a window of the result."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..core.exceptions import gather
from ..core.validation import BoolArray, IntArray
from .order import ORDERS
from .overlay import CODES
from .table import IssueTable

SCOPES = ("flagged", "all")
STATES = ("any", "undecided", "decided", *CODES)
MAX_LIMIT = 200


@dataclass(frozen=True)
class Query:
    """Filters and window; labels are indices into the names of the table.

    Attributes
    ----------
    scope : str
        "flagged" (for a person to look at) or "all".
    state : str
        By decision: "any", "undecided", "decided", or one of the actions.
    given, suggested : int or None
        Only this label.
    action : str
        Only rows with this proposal; "" for all.
    low, high : float
        Range of the label score, both ends included; rows without one only in 0..1.
    text : str
        Occurs in file name or id, whatever its case.
    order : str
        One of `ORDERS`.
    offset, limit : int
        The window.
    after, before : int or None
        Instead of an offset: the rows that follow or precede this row in the order.
    """

    scope: str = "flagged"
    state: str = "any"
    given: int | None = None
    suggested: int | None = None
    action: str = ""
    low: float = 0.0
    high: float = 1.0
    text: str = ""
    order: str = "worst"
    offset: int = 0
    limit: int = 48
    after: int | None = None
    before: int | None = None


def parse_query(values: Mapping[str, str]) -> Query:
    """Read a query from the parameters of a URL.

    Raises
    ------
    InputError
        If a value is not allowed; all problems in one message. Unknown names are ignored.
    """
    problems: list[str] = []
    read: dict[str, object] = {}
    choices = {"scope": SCOPES, "state": STATES, "order": ORDERS}
    for name, allowed in choices.items():
        if name in values:
            read[name] = values[name]
            if values[name] not in allowed:
                problems.append(f"{name}={values[name]!r} must be one of {', '.join(allowed)}")
    for name in ("given", "suggested", "offset", "limit", "after", "before"):
        if values.get(name, "") != "":
            _number(values[name], int, name, read, problems)
    for name in ("low", "high"):
        if values.get(name, "") != "":
            _number(values[name], float, name, read, problems)
    for name in ("action", "text"):
        read[name] = values.get(name, "")
    gather(problems, what="query")
    query = Query(**read)  # pyright: ignore[reportArgumentType]
    if not (query.offset >= 0 and 1 <= query.limit <= MAX_LIMIT):
        gather([f"offset must be at least 0 and limit in 1..{MAX_LIMIT}"], what="query")
    return query


def _number(text: str, kind: type, name: str, read: dict[str, object], problems: list[str]) -> None:
    try:
        value = kind(text)
    except ValueError:
        value = float("nan")
    if not abs(value) < 2**53:
        problems.append(f"{name}={text[:40]!r} is not a number")
    read[name] = value


def matching(table: IssueTable, query: Query, decided: IntArray) -> BoolArray:
    """Which rows pass the filters, shape (N,).

    Parameters
    ----------
    table : IssueTable
        The rows.
    query : Query
        Its filters.
    decided : ndarray of int8, shape (N,)
        Codes of the decisions; see `overlay.CODES`.
    """
    mask = np.ones(len(table), dtype=bool) if query.scope == "all" else table.is_flagged
    if query.state in CODES:
        mask = mask & (decided == CODES[query.state])
    elif query.state != "any":
        # an unsure person has not decided: the row stays open
        open_ = (decided == 0) | (decided == CODES["unsure"])
        mask = mask & (open_ if query.state == "undecided" else ~open_)
    if query.given is not None:
        mask = mask & (table.given == query.given)
    if query.suggested is not None:
        mask = mask & (table.suggested == query.suggested)
    if query.action:
        mask = mask & (table.action == query.action)
    if (query.low, query.high) != (0.0, 1.0):
        mask = mask & (table.label_score >= query.low) & (table.label_score <= query.high)
    if query.text:
        mask = mask & _containing(table, query.text, mask)
    return mask


def _containing(table: IssueTable, text: str, among: BoolArray) -> BoolArray:
    wanted, found = text.casefold(), np.zeros(len(table), dtype=bool)
    for row in np.flatnonzero(among):
        hay = table.files[row], table.ids[row]
        found[row] = any(wanted in text.casefold() for text in hay)
    return found


def window(rows: IntArray, rank: IntArray, query: Query) -> tuple[int, IntArray]:
    """The asked part of the matching rows.

    Parameters
    ----------
    rows : ndarray of int64, shape (M,)
        Matching rows in order.
    rank : ndarray of int64, shape (N,)
        Position of every row in the order, matching or not: so "after" works for a row that has
        just been decided and no longer matches.
    query : Query
        Its window.

    Returns
    -------
    offset : int
        Position of the first row of the window.
    rows : ndarray of int64
        At most `query.limit` rows.
    """
    start = query.offset
    if query.after is not None:
        start = int(np.searchsorted(rank[rows], rank[query.after], side="right"))
    elif query.before is not None:
        end = int(np.searchsorted(rank[rows], rank[query.before], side="left"))
        start = max(0, end - query.limit)
        return start, rows[start:end]
    return start, rows[start : start + query.limit]
