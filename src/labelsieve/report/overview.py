"""The headline numbers and the distribution of label scores."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..sieve.promises import promises
from .counts import N_BINS, Counts
from .formats import count, percent
from .scan_folder import ScanResult, is_number

ACTIONS = ("relabel", "drop", "review", "keep", "unreadable")


def headline(scan: ScanResult) -> dict[str, Any]:
    """Counts from the table, estimates from the summary, and the sentences about them."""
    counts, summary, n_issues = scan.counts, scan.summary, scan.counts.n_issues
    return {
        "n_images": counts.n_rows,
        "n_checked": counts.n_checked,
        "n_issues": n_issues,
        "share": n_issues / max(counts.n_checked, 1),
        "n_unreadable": counts.n_unreadable,
        "n_unlabeled": counts.n_unlabeled,
        "n_classes": len(scan.classes),
        "actions": [(name, counts.actions[name]) for name in ACTIONS if name in counts.actions],
        "noise": noise_rate(summary),
        "expectation": expectation(summary, n_issues),
        "promises": promises(summary),
        "cuts": summary.get("cuts") or [],
        "warnings": _warnings(summary, n_issues),
    }


def noise_rate(summary: dict[str, Any]) -> dict[str, Any] | None:
    """The estimated noise rate with its interval in words, or None without an estimate."""
    rate = summary.get("noise_rate")
    if not isinstance(rate, dict) or not is_number(rate.get("estimate")):
        return None
    interval = rate.get("interval")
    text = None
    if isinstance(interval, list) and len(interval) == 2 and all(map(is_number, interval)):
        confidence = rate.get("confidence")
        prefix = f"{confidence:.0%} interval" if is_number(confidence) else "interval"
        text = f"{prefix} {percent(interval[0])} to {percent(interval[1])}"
    return {"estimate": rate["estimate"], "interval": text, "method": rate.get("method")}


def expectation(summary: dict[str, Any], n_issues: int) -> str:
    """One honest sentence or two about how good the flags are expected to be."""
    expected = summary.get("expected")
    expected = expected if isinstance(expected, dict) else {}
    precision, recall = expected.get("precision"), expected.get("recall")
    parts = []
    if is_number(precision) and n_issues:
        truly = count(round(precision * n_issues))
        share, interval = percent(precision), expected.get("precision_interval")
        if isinstance(interval, list):
            share += f"; {percent(interval[0])} to {percent(interval[1])}"
        flagged = f"the {count(n_issues)} flagged labels ({share})"
        parts.append(f"About {truly} of {flagged} should be truly wrong.")
    if is_number(recall):
        parts.append(f"The flags should cover about {percent(recall)} of all wrong labels.")
    if not parts:
        return "This scan has no estimate of how many flags are right: check before you act."
    which = "Both figures are" if len(parts) == 2 else "This figure is"
    return " ".join([*parts, f"{which} estimated, not measured against true labels."])


def score_histogram(counts: Counts) -> dict[str, Any]:
    """Counts of label scores in equal bins over 0..1, for all rows and for the issues.

    Returns
    -------
    dict
        ``bins`` with the counts and the heights (0..1, square root of the share of ``top``),
        ``top`` (the count at full height) and ``n`` (rows with a score).
    """
    edges = np.linspace(0, 1, N_BINS + 1)
    everything, flagged = counts.scores
    top = nice_top(int(everything.max(initial=0)))
    bins = [
        {
            "low": float(edges[k]),
            "high": float(edges[k + 1]),
            "n": int(everything[k]),
            "n_issues": int(flagged[k]),
            "height": math.sqrt(everything[k] / top),
            "issue_height": math.sqrt(flagged[k] / top),
        }
        for k in range(N_BINS)
    ]
    return {"bins": bins, "top": top, "n": int(everything.sum())}


def nice_top(largest: int) -> int:
    """The smallest of 4, 8, 20, 40, 80, 200, … that is at least `largest`."""
    scale = 1
    while True:
        for step in (4, 8, 20):
            if step * scale >= largest:
                return step * scale
        scale *= 10


def _warnings(summary: dict[str, Any], n_issues: int) -> list[str]:
    given = summary.get("warnings")
    warnings = [str(text) for text in given] if isinstance(given, list) else []
    stated = summary.get("n_label_issues")
    if is_number(stated) and stated != n_issues:
        warnings.append(
            f"summary.json counts {count(stated)} label issues, issues.parquet {count(n_issues)}: "
            "the files are not from the same scan, or were edited."
        )
    return warnings
