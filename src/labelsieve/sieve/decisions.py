"""What people decided about given labels, brought into line with a data set."""

from __future__ import annotations

import csv
import difflib
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.exceptions import gather
from ..core.serialization import atomic_path
from ..core.validation import BoolArray, IntArray
from ..data import LabeledImages
from ..data.class_names import clean_name

ACTIONS = ("keep", "relabel", "drop", "unsure")
COLUMNS = ("id", "action", "label", "reviewer", "time")
log = logging.getLogger(__name__)
SHOWN = 5  # examples in an error message


@dataclass(frozen=True)
class Decision:
    """One decision about one image.

    Attributes
    ----------
    id : str
        Of the row.
    action : str
        "keep" (the given label is right), "relabel" (`label` is right), "drop" (no class fits, or
        the image is of no use) or "unsure" (somebody looked and could not tell).
    label : str or None
        The right label of a "relabel"; of a "keep" the label that was kept, if it was noted.
    reviewer, time : str or None
        Who decided, and when.
    """

    id: str
    action: str
    label: str | None = None
    reviewer: str | None = None
    time: str | None = None


@dataclass(frozen=True)
class Decisions:
    """At most one decision an id, and where they come from."""

    rows: tuple[Decision, ...]
    origin: str

    def __len__(self) -> int:
        return len(self.rows)

    def counts(self) -> dict[str, int]:
        """Number of decisions by action, every action named."""
        found = Counter(row.action for row in self.rows)
        return {action: found[action] for action in ACTIONS}

    def save(self, path: Path | str) -> None:
        """Write a CSV file with the columns `COLUMNS`, atomically."""
        with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows([getattr(row, name) or "" for name in COLUMNS] for row in self.rows)


@dataclass(frozen=True, eq=False)
class HeldLabels:
    """Decisions by row of a data set.

    Attributes
    ----------
    action : ndarray of str, shape (N,)
        "keep", "relabel", "drop", "unsure" or "" where nobody decided.
    label : ndarray of int64, shape (N,)
        The label that is known to be right; -1 where none is known.
    decisions : Decisions
        As they were given, each "keep" with the label that it keeps: where that changes later,
        the decision no longer holds.
    """

    action: np.ndarray[Any, Any]
    label: IntArray
    decisions: Decisions

    @property
    def decided(self) -> BoolArray:
        """Rows with a decision that says something: keep, relabel or drop."""
        return np.isin(self.action, ("keep", "relabel", "drop"))

    @property
    def dropped(self) -> BoolArray:
        """Rows that are to be left out."""
        return self.action == "drop"

    def wrong(self) -> BoolArray:
        """Rows whose given label is known to be wrong: relabel and drop."""
        return np.isin(self.action, ("relabel", "drop"))

    def training_labels(self, given: IntArray) -> IntArray:
        """Given labels with what is known put in their place, and -1 for dropped rows (N,)."""
        return np.where(self.dropped, -1, np.where(self.label >= 0, self.label, given))


def one_each(rows: Iterable[Decision], origin: str) -> Decisions:
    """Put decisions of one source together; an id may repeat only with the same decision.

    Raises
    ------
    InputError
        If an id is decided in two ways, an action is unknown, or a label is lacking; all problems
        in one message.
    """
    found: dict[str, Decision] = {}
    clashes: dict[str, tuple[Decision, Decision]] = {}
    problems = []
    for row in rows:
        if row.action not in ACTIONS:
            problems.append(
                f"action {row.action!r} of id {row.id!r} is not known; choose one of "
                f"{', '.join(ACTIONS)}"
            )
        elif row.action == "relabel" and not row.label:
            problems.append(f"id {row.id!r} is to be relabeled, but has no label")
        before = found.setdefault(row.id, row)
        if before.action != row.action or (row.action == "relabel" and before.label != row.label):
            clashes[row.id] = (before, row)
    for name, pair in clashes.items():
        texts = [" ".join(filter(None, (row.action, row.label))) for row in pair]
        problems.append(f"id {name!r} is decided in two ways: {texts[0]!r} and {texts[1]!r}")
    gather(_few(problems), what=f"decisions of {origin}")
    return Decisions(tuple(found.values()), origin)


def hold(decisions: Decisions, images: LabeledImages) -> HeldLabels:
    """Find the rows and classes that decisions name.

    A "relabel" to the label that a row already has is a "keep"; a "keep" where no label is given
    decides nothing. A row to be dropped may be gone already, if the decisions name others that are
    there; that is logged.

    Parameters
    ----------
    decisions : Decisions
        What people decided.
    images : LabeledImages
        The data set with its given labels.

    Raises
    ------
    InputError
        If an id is not in the data, a label is no class, or a label that was kept has changed
        since; all problems in one message.
    """
    rows = {name: row for row, name in enumerate(images.ids)}
    classes = {name: k for k, name in enumerate(images.class_names)}
    action = np.full(len(images), "", dtype=object)
    label = np.full(len(images), -1, dtype=np.int64)
    unknown, gone, problems = [], [], []
    for decision in decisions.rows:
        row = rows.get(decision.id)
        if row is None:
            (gone if decision.action == "drop" else unknown).append(decision.id)
            continue
        given = int(images.given_labels[row])
        named = _class_index(decision.label, classes)
        if decision.label and named is None and decision.action in ("keep", "relabel"):
            problems.append(_unknown_label(decision, images.class_names))
        elif decision.action == "keep" and named not in (None, given):
            now = repr(images.class_names[given]) if given >= 0 else "missing"
            problems.append(
                f"id {decision.id!r} was decided to keep {decision.label!r}, but its label in the "
                f"data is {now}; decide about it again, or leave that decision out"
            )
        elif decision.action == "keep" and given < 0:
            action[row] = "unsure"  # there is no label to keep: nothing was decided
        else:
            same = decision.action == "relabel" and named == given
            action[row] = "keep" if same else decision.action
            label[row] = {"keep": given, "relabel": named}.get(str(action[row]), -1)
    if gone and not action.any():
        unknown += gone
    elif gone:
        log.warning("%d images to be dropped are not in the data, such as %r", len(gone), gone[0])
    gather(
        _unknown_ids(unknown, images) + _few(problems),
        what=f"decisions of {decisions.origin} do not fit the data",
    )
    return HeldLabels(action, label, _with_kept(decisions, images, action))


def _with_kept(
    decisions: Decisions, images: LabeledImages, action: np.ndarray[Any, Any]
) -> Decisions:
    """The decisions, each "keep" of a labelled row with the label."""
    kept = {
        images.ids[row]: images.class_names[images.given_labels[row]]
        for row in np.flatnonzero(action == "keep")
    }
    rows = (
        replace(row, label=kept[row.id]) if row.action == "keep" and row.id in kept else row
        for row in decisions.rows
    )
    return replace(decisions, rows=tuple(rows))


def merged(older: Decisions, newer: Decisions) -> Decisions:
    """Decisions of two sources; where both have one for an id, the newer source's."""
    rows = {row.id: row for row in (*older.rows, *newer.rows)}
    return replace(newer, rows=tuple(rows.values()))


def _class_index(label: str | None, classes: dict[str, int]) -> int | None:
    if not label:
        return None
    return classes.get(label, classes.get(clean_name(label)))


def _unknown_label(decision: Decision, names: tuple[str, ...]) -> str:
    close = difflib.get_close_matches(str(decision.label), names, n=1)
    hint = f"; did you mean {close[0]!r}?" if close else ""
    shown = ", ".join(map(repr, names[:20])) + (", …" if len(names) > 20 else "")
    return (
        f"label {decision.label!r} of id {decision.id!r} is no class of the data; the classes are "
        f"{shown}{hint}"
    )


def _unknown_ids(unknown: list[str], images: LabeledImages) -> list[str]:
    if not unknown:
        return []
    shown = ", ".join(map(repr, unknown[:SHOWN])) + (", …" if len(unknown) > SHOWN else "")
    return [
        f"{len(unknown)} of the ids are not in the data: {shown}. Ids of the data look like "
        f"{str(images.ids[0])!r}; pass the decisions that belong to these data"
    ]


def _few(problems: list[str]) -> list[str]:
    """The first problems, and how many more there are."""
    more = len(problems) - 2 * SHOWN
    return problems if more <= 0 else [*problems[: 2 * SHOWN], f"and {more} more like these"]
