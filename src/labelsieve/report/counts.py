"""The issues table read once, in pieces: what is counted, and the few rows that are shown."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..core.validation import BoolArray, FloatArray, IntArray

N_BINS = 25
MAX_ROWS = 5_000
MAX_UNREADABLE = 200
PROPOSED = ("relabel", "drop", "review")


@dataclass
class Counts:
    """Sums over all rows of an issues table.

    Attributes
    ----------
    n_rows, n_unreadable, n_unlabeled, n_checked, n_issues, n_flagged : int
        Rows; without image; without label; with both; issues; issues and rows with a proposal.
    actions, given, predicted, suggested : Counter
        How often each value occurs.
    wrong, here : Counter
        Given and suggested labels of the issues.
    pairs : Counter
        Issues by (given, suggested) label.
    scores : ndarray of int64, shape (2, N_BINS)
        Label scores in equal bins over 0..1: of all rows, and of the issues.
    """

    n_rows: int = 0
    n_unreadable: int = 0
    n_unlabeled: int = 0
    n_checked: int = 0
    n_issues: int = 0
    n_flagged: int = 0
    actions: Counter[Any] = field(default_factory=Counter)
    given: Counter[Any] = field(default_factory=Counter)
    predicted: Counter[Any] = field(default_factory=Counter)
    suggested: Counter[Any] = field(default_factory=Counter)
    wrong: Counter[Any] = field(default_factory=Counter)
    here: Counter[Any] = field(default_factory=Counter)
    pairs: Counter[tuple[Any, Any]] = field(default_factory=Counter)
    scores: IntArray = field(default_factory=lambda: np.zeros((2, N_BINS), dtype=np.int64))

    def add(self, table: pd.DataFrame) -> None:
        """Count the rows of a piece."""
        unreadable = unreadable_mask(table)
        labeled = table["given_label"].notna().to_numpy(dtype=bool)
        issues = label_issues(table)
        self.n_rows += len(table)
        self.n_unreadable += int(unreadable.sum())
        self.n_unlabeled += int((~labeled).sum())
        self.n_checked += int((labeled & ~unreadable).sum())
        self.n_issues += len(issues)
        self.n_flagged += int(_is_flagged(table).sum())
        self.actions += tally(table, "action")
        self.given += tally(table, "given_label")
        self.predicted += tally(table, "predicted_label")
        self.suggested += tally(table, "suggested_label")
        self.wrong += tally(issues, "given_label")
        self.here += tally(issues, "suggested_label")
        pairs = zip(issues["given_label"], issues["suggested_label"], strict=True)
        self.pairs += Counter(
            (given, other) for given, other in pairs if None not in (given, other)
        )
        edges = np.linspace(0, 1, N_BINS + 1)
        for line, part in enumerate((table, issues)):
            self.scores[line] += np.histogram(_scores(part), edges)[0]


def read_pieces(pieces: Iterable[pd.DataFrame], most: int) -> tuple[Counts, pd.DataFrame]:
    """Count all pieces of a table; returns the rows too, or those to show where they are many.

    Parameters
    ----------
    pieces : iterable of DataFrame
        Slices of one table, with its row numbers as index.
    most : int
        With more rows than this, only the worst flagged and the first unreadable ones are kept.
    """
    counts, kept, whole = Counts(), [], True
    for piece in pieces:
        counts.add(piece)
        kept.append(piece)
        whole &= counts.n_rows <= most
        if not whole:
            kept = [_shown(pd.concat(kept))]
    return counts, pd.concat(kept) if kept else pd.DataFrame()


def _shown(table: pd.DataFrame) -> pd.DataFrame:
    """The worst flagged and the first unreadable rows, in input order."""
    worst = flagged_rows(table).index[:MAX_ROWS]
    broken = rows_where(table, unreadable_mask(table)).index[:MAX_UNREADABLE]
    return table.loc[worst.union(broken).sort_values()]


def flagged_rows(issues: pd.DataFrame) -> pd.DataFrame:
    """The rows to look at, worst first: label issues and rows with a proposed action."""
    flagged = rows_where(issues, _is_flagged(issues))
    scores = flagged["label_score"].to_numpy(dtype=float)
    return flagged.iloc[np.argsort(scores, kind="stable")]  # NaN comes last


def unreadable_mask(issues: pd.DataFrame) -> BoolArray:
    """True where the image could not be read, shape (N,): also where people decided to drop it."""
    cells = zip(issues["action"], issues["error"], issues["predicted_label"], strict=True)
    marks = [
        action == "unreadable" or (error and (not action or predicted is None))
        for action, error, predicted in cells
    ]
    return np.array(marks, dtype=bool)


def rows_where(table: pd.DataFrame, mask: BoolArray) -> pd.DataFrame:
    """The rows of a table where `mask` is true; they keep their index."""
    return table.iloc[np.flatnonzero(mask)]


def label_issues(issues: pd.DataFrame) -> pd.DataFrame:
    """The rows whose given label looks wrong."""
    return rows_where(issues, issues["is_label_issue"].to_numpy(dtype=bool))


def tally(table: pd.DataFrame, name: str) -> Counter[Any]:
    """How often each value of a column occurs; missing ones are not counted."""
    return Counter(value for value in table[name].tolist() if value is not None)


def _is_flagged(issues: pd.DataFrame) -> BoolArray:
    proposed = np.array([action in PROPOSED for action in issues["action"]], dtype=bool)
    return issues["is_label_issue"].to_numpy(dtype=bool) | proposed


def _scores(table: pd.DataFrame) -> FloatArray:
    scores = table["label_score"].to_numpy(dtype=float)
    return scores[np.isfinite(scores)].clip(0, 1)
