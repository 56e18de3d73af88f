"""The log of changed labels, and its use backwards."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from pathlib import Path

from ..core.exceptions import InputError, gather

CHANGES = "changes.csv"
HELD_BACK = "held_back.csv"
RECORD = "apply.json"
COLUMNS = ("id", "file_name", "before", "after", "action", "source")


@dataclass(frozen=True)
class Change:
    """One changed row.

    Attributes
    ----------
    id, file_name : str
        Of the row.
    before, after : str
        Label names; "" is no label, and after a "drop" there is none.
    action : str
        "relabel" or "drop".
    source : str
        The reviewer, "decision" where none is named, or "scan" for an accepted proposal.
    """

    id: str
    file_name: str
    before: str
    after: str
    action: str
    source: str


def write_changes(path: Path, changes: Sequence[Change]) -> None:
    """Write changes as CSV with the columns `COLUMNS`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(astuple(change) for change in changes)


def read_changes(path: Path) -> list[Change]:
    """Read what `write_changes` wrote.

    Raises
    ------
    InputError
        If the file is missing or is no such table.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            if tuple(reader.fieldnames or ()) != COLUMNS:
                raise InputError(f"{path} is no log of changes; its columns are not {COLUMNS}")
            return [Change(**row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error, TypeError) as error:
        raise InputError(f"cannot read {path} as a log of changes: {error}") from error


def undo_changes(labels: dict[str, str | None], changes: Sequence[Change]) -> dict[str, str | None]:
    """The labels before the changes, by id; dropped ids are there again.

    Parameters
    ----------
    labels : dict of str to str or None
        Label by id after the changes.
    changes : sequence of Change
        The log.

    Raises
    ------
    InputError
        If the labels are not those that the log left; all problems in one message.

    Examples
    --------
    >>> relabeled = Change("a", "a.png", "cat", "dog", "relabel", "ann")
    >>> log = [relabeled, Change("b", "b.png", "eel", "", "drop", "ann")]
    >>> undo_changes({"a": "dog", "c": "cat"}, log)
    {'a': 'cat', 'c': 'cat', 'b': 'eel'}
    """
    before, problems = dict(labels), []
    for change in reversed(changes):
        there = change.id in before
        if change.action == "drop" and there:
            problems.append(f"id {change.id!r} was dropped, but it is in the data")
        elif change.action != "drop" and not there:
            problems.append(f"id {change.id!r} was relabeled, but it is not in the data")
        elif there and (before[change.id] or "") != change.after:
            problems.append(
                f"id {change.id!r} was relabeled to {change.after!r}, but is {before[change.id]!r}"
            )
        before[change.id] = change.before or None
    gather(problems, what="the data are not as the log left them")
    return before
