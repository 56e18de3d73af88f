"""Which classes get mixed up: pairs, the two class-by-class matrices, the class table."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

import numpy as np

from ..core.validation import FloatArray, IntArray
from .formats import count, percent
from .gallery import all_names
from .scan_folder import ScanResult, is_number

MAX_CLASSES = 30  # a larger matrix is not legible
MAX_TABLE = 1_000
MAX_PAIRS = 12
LEVELS = 6  # heat colours in the style sheet, 0 is no colour


def top_pairs(scan: ScanResult) -> list[dict[str, Any]]:
    """The most frequent (given, suggested) pairs, with their share of the largest one."""
    index = {name: position for position, name in enumerate(all_names(scan))}
    largest = pair_counts(scan).most_common(MAX_PAIRS)
    return [
        {
            "given": given,
            "suggested": suggested,
            "given_index": index[given],
            "suggested_index": index[suggested],
            "n": n,
            "share": n / largest[0][1],
        }
        for (given, suggested), n in largest
    ]


def pair_counts(scan: ScanResult) -> Counter[tuple[str, str]]:
    """Number of label issues by (given, suggested) label; without a missing one."""
    return scan.counts.pairs


def count_matrix(scan: ScanResult) -> IntArray:
    """Label issues by given (rows) and suggested class (columns), shape (K, K)."""
    index = {name: position for position, name in enumerate(scan.classes)}
    counts = np.zeros((len(index), len(index)), dtype=np.int64)
    for (given, suggested), n in pair_counts(scan).items():
        if given in index and suggested in index:
            counts[index[given], index[suggested]] = n
    return counts


def matrix_views(scan: ScanResult) -> dict[str, Any]:
    """Cells of the count matrix and of the noise matrix, for the classes mixed up most.

    Both have the given class in the rows and the suggested (true) class in the columns, so that
    a cell has the same meaning in both; the columns of the noise matrix sum to one.
    """
    counts = count_matrix(scan)
    chosen = shown_classes(scan)
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


def shown_classes(scan: ScanResult) -> IntArray:
    """The classes of the most frequent pairs, at most MAX_CLASSES of them, in class order."""
    index = {name: position for position, name in enumerate(scan.classes)}
    names = [name for pair, _ in pair_counts(scan).most_common() for name in pair]
    ranked = dict.fromkeys([*(index[name] for name in names if name in index), *index.values()])
    return np.array(sorted(list(ranked)[:MAX_CLASSES]), dtype=np.int64)


def class_table(scan: ScanResult) -> dict[str, Any]:
    """One row per class: images, issues, estimated noise rate, suggestions into the class."""
    total, wrong, here = scan.counts.given, scan.counts.wrong, scan.counts.here
    rates = _class_rates(scan)
    rows = [
        {
            "name": name,
            "index": position,
            "n": total[name],
            "n_issues": wrong[name],
            "share": wrong[name] / max(total[name], 1),
            "rate": rates.get(name),
            "n_suggested": here[name],
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
