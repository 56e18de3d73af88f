"""Which classes get mixed up: pairs, the two class-by-class matrices, the class table."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..core.validation import FloatArray, IntArray
from .formats import count, percent
from .gallery import all_names
from .overview import is_number
from .scan_folder import ScanResult

MAX_CLASSES = 30  # a larger matrix is not legible
MAX_TABLE = 1_000
MAX_PAIRS = 12
LEVELS = 6  # heat colours in the style sheet, 0 is no colour


def top_pairs(scan: ScanResult) -> list[dict[str, Any]]:
    """The most frequent (given, suggested) pairs, with their share of the largest one."""
    issues = scan.issues[scan.issues["is_label_issue"]]
    index = {name: position for position, name in enumerate(all_names(scan))}
    groups = issues.groupby(["given_label", "suggested_label"], sort=False).size()
    largest = groups.sort_values(ascending=False, kind="stable").head(MAX_PAIRS)
    return [
        {
            "given": given,
            "suggested": suggested,
            "given_index": index[given],
            "suggested_index": index[suggested],
            "n": int(n),
            "share": int(n) / int(largest.iloc[0]),
        }
        for (given, suggested), n in largest.items()  # pyright: ignore[reportGeneralTypeIssues]
    ]


def count_matrix(scan: ScanResult) -> IntArray:
    """Label issues by given (rows) and suggested class (columns), shape (K, K)."""
    index = {name: position for position, name in enumerate(scan.classes)}
    issues = scan.issues[scan.issues["is_label_issue"]]
    counts = np.zeros((len(index), len(index)), dtype=np.int64)
    given, suggested = issues["given_label"].map(index), issues["suggested_label"].map(index)
    both = (given.notna() & suggested.notna()).to_numpy()
    rows, columns = given[both].astype(int), suggested[both].astype(int)
    np.add.at(counts, (rows.to_numpy(), columns.to_numpy()), 1)
    return counts


def matrix_views(scan: ScanResult) -> dict[str, Any]:
    """Cells of the count matrix and of the noise matrix, for the classes with most issues.

    Both have the given class in the rows and the suggested (true) class in the columns, so that
    a cell has the same meaning in both; the columns of the noise matrix sum to one.
    """
    counts = count_matrix(scan)
    involved = counts.sum(axis=0) + counts.sum(axis=1)
    chosen = np.sort(np.argsort(-involved, kind="stable")[:MAX_CLASSES])
    part = counts[np.ix_(chosen, chosen)]
    rates = scan.noise_matrix.T[np.ix_(chosen, chosen)]
    headers = [{"name": scan.classes[k], "index": int(k)} for k in chosen]
    return {
        "headers": headers,
        "n_classes": len(scan.classes),
        "n_shown": len(chosen),
        "counts": _cells(part.astype(float), part, _count_text),
        "rates": _cells(rates, part, _rate_text),
    }


def class_table(scan: ScanResult) -> dict[str, Any]:
    """One row per class: images, issues, estimated noise rate, suggestions into the class."""
    issues = scan.issues
    flagged = issues[issues["is_label_issue"]]
    total = issues["given_label"].value_counts()
    wrong = flagged["given_label"].value_counts()
    here = flagged["suggested_label"].value_counts()
    rates = _class_rates(scan)
    rows = [
        {
            "name": name,
            "index": position,
            "n": int(total.get(name, 0)),
            "n_issues": int(wrong.get(name, 0)),
            "share": int(wrong.get(name, 0)) / max(int(total.get(name, 0)), 1),
            "rate": rates.get(name),
            "n_suggested": int(here.get(name, 0)),
        }
        for position, name in enumerate(scan.classes)
    ]
    rows.sort(key=lambda row: (-row["n_issues"], row["index"]))
    shown = rows[:MAX_TABLE]
    largest = max([row["rate"] for row in shown if row["rate"] is not None], default=0.0)
    return {"rows": shown, "n_classes": len(rows), "largest_rate": largest or 1.0}


def _class_rates(scan: ScanResult) -> dict[str, float]:
    entries = scan.summary.get("per_class")
    rates = {}
    for entry in entries if isinstance(entries, list) else []:
        rate = entry.get("estimated_noise_rate") if isinstance(entry, dict) else None
        if is_number(rate):
            rates[str(entry.get("class"))] = float(rate)
    return rates


def _cells(values: FloatArray, counts: IntArray, text: Any) -> list[list[dict[str, Any]]]:
    """Text, heat level and issue count of every cell; the diagonal takes no colour."""
    values = np.nan_to_num(values)
    off_diagonal = values[~np.eye(len(values), dtype=bool)]
    largest = float(off_diagonal.max(initial=0.0))
    return [
        [
            {
                "text": text(float(value)),
                "level": 0 if row == column else _level(float(value), largest),
                "diagonal": row == column,
                "n": int(counts[row, column]),
            }
            for column, value in enumerate(line)
        ]
        for row, line in enumerate(values)
    ]


def _level(value: float, largest: float) -> int:
    """Heat level 0..LEVELS, by the square root so that small rates still differ."""
    if value <= 0 or largest <= 0:
        return 0
    return max(1, math.ceil(LEVELS * math.sqrt(value / largest) - 1e-9))


def _count_text(value: float) -> str:
    return count(value) if value else ""


def _rate_text(value: float) -> str:
    return percent(round(value, 2)).removesuffix("%").removesuffix(".0") if value >= 0.005 else ""
