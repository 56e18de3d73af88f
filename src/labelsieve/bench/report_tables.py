"""From the results of a suite to the tables of its report."""

from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pandas as pd

from .compare import Comparison, Summary, compare
from .tables import Entry, Table

COSTS = (
    ("seconds_fit", "seconds of fit", 2),
    ("cpu_fit", "processor seconds of fit", 2),
    ("seconds_predict", "seconds of predict", 3),
    ("seconds_after", "seconds of the detector before", 2),
    ("peak_memory_mb", "peak memory, MiB", 0),
    ("peak_device_memory_mb", "peak device memory, MiB", 0),
)


def merit_tables(results: pd.DataFrame) -> list[Table]:
    """One table for each model and figure of merit."""
    return [_merit_table(found) for found in compare(results)]


def _merit_table(found: Comparison) -> Table:
    usual = Counter(summary.n for summary in found.cells.values()).most_common(1)[0][0]
    several = len({data for data, _ in found.cases}) > 1
    header = ["method", *(f"{d}: {n}" if several else n for d, n in found.cases)]
    rows = []
    for method in found.methods:
        summaries = [found.cells.get((method, case)) for case in found.cases]
        entries = [_entry(summary, found.merit.digits, usual) for summary in summaries]
        rows.append([Entry(method), *entries])
    seeds = f"{usual} seeds" if usual > 1 else "one seed"
    better = "higher" if found.merit.higher else "lower"
    where = "" if several else f"{found.cases[0][0]}; "
    return Table(
        f"{found.merit.title} ({found.model})",
        header,
        rows,
        f"{where}mean ± standard deviation over {seeds} unless n is shown; {better} is better.",
    )


def _entry(summary: Summary | None, digits: int, usual: int) -> Entry:
    if summary is None:
        return Entry("–")
    spread = "" if np.isnan(summary.sd) else f" ± {summary.sd:.{digits}f}"
    count = "" if summary.n == usual else f" (n={summary.n})"
    return Entry(f"{summary.mean:.{digits}f}{spread}{count}", summary.ahead)


def cost_table(results: pd.DataFrame) -> Table:
    """Median cost of each method on each model and data set."""
    done: Any = results[results["status"] == "ok"]
    columns = [c for c in COSTS if c[0] in done and done[c[0]].notna().any()]
    rows = []
    for names, cells in done.groupby(["method", "model", "data"], sort=False):
        figures = [_median(cells[name], digits) for name, _, digits in columns]
        label = [Entry(str(names[0])), Entry(f"{names[1]}, {names[2]}"), Entry(str(len(cells)))]
        rows.append([*label, *map(Entry, figures)])
    header = ["method", "model and data", "cells", *(title for _, title, _ in columns)]
    return Table(
        "Cost of each method",
        header,
        rows,
        "Medians over cells. Features come from the cache and are not part of it; peak memory is "
        "that of the whole process, libraries and model included.",
    )


def _median(values: pd.Series, digits: int) -> str:
    known = values.dropna().astype(float)
    return f"{known.median():,.{digits}f}" if len(known) else "–"


def promise_table(results: pd.DataFrame) -> Table | None:
    """Whether detectors keep what a scan would promise; None where nothing was promised."""
    if "noise_rate_covered" not in results:
        return None
    done: Any = results[(results["status"] == "ok") & results["noise_rate_covered"].notna()]
    if not len(done):
        return None
    rows = []
    for names, cells in done.groupby(["method", "model"], sort=False):
        held = cells["noise_rate_covered"].astype(bool)
        human = cells["noise_kind"] == "human"
        width = cells["noise_rate_high"] - cells["noise_rate_low"]
        told = cells[cells["promised_precision"].notna()].astype({"promised_precision": float})
        gaps = [
            f"{told[said].astype(float).mean():.2f} / {told[true].mean():.2f}" if len(told) else "–"
            for said, true in (("promised_precision", "precision"), ("promised_recall", "recall"))
        ]
        shares = [
            f"{int(held[some].sum())} of {int(some.sum())}" if some.any() else "–"
            for some in (held | True, human)
        ]
        label = [Entry(str(names[0])), Entry(str(names[1]))]
        rows.append([*label, *map(Entry, [*shares, f"{width.astype(float).mean():.2f}", *gaps])])
    header = ["method", "model", "rate held", "human noise", "mean width"]
    return Table(
        "Promises: does the interval hold the noise rate, and do the flags hold the precision?",
        [*header, "precision said / true", "recall said / true"],
        rows,
        "Over cells. The interval is stated to hold in 90 % of cases; a wide one holds easily. "
        "Detectors without a clean probability count their flags and promise no precision.",
    )


def noise_table(results: pd.DataFrame) -> Table | None:
    """What was measured on: the actual share of wrong labels of each data set and noise."""
    done: Any = results[results["status"] == "ok"]
    if not len(done):
        return None
    rows = []
    for names, cells in done.groupby(["data", "noise"], sort=False):
        rate = cells.drop_duplicates("noise_hash")["noise_rate"]
        sizes = sorted(set(cells["n_train"].astype(int)))
        shown = f"{sizes[0]:,}" if len(sizes) == 1 else f"{sizes[0]:,} to {sizes[-1]:,}"
        hashes = cells["noise_hash"].drop_duplicates()
        rows.append(
            [
                Entry(f"{names[0]}: {names[1]}"),
                Entry(shown),
                Entry(f"{cells['n_classes'].iloc[0]:.0f}"),
                Entry(f"{rate.mean():.3f}"),
                Entry(", ".join(h[:8] for h in hashes)),
            ]
        )
    header = ["data and noise", "images", "classes", "wrong labels", "hashes of the labels"]
    return Table("Labels", header, rows, "The labels of a seed are the same for all methods.")


def failure_table(results: pd.DataFrame) -> Table | None:
    """Cells without a result, and why; None where there are none."""
    bad: Any = results[results["status"] != "ok"]
    if not len(bad):
        return None
    seeds: dict[tuple[str, str], list[str]] = {}
    for _, row in bad.iterrows():
        cell = " | ".join(str(row[name]) for name in ("data", "noise", "model", "method"))
        why = str(row["error"]) if row["status"] == "failed" else "was not run"
        seeds.setdefault((cell, why), []).append(str(row["seed"]))
    rows = [[Entry(cell), Entry(", ".join(of)), Entry(why)] for (cell, why), of in seeds.items()]
    return Table(f"{len(bad)} cells without a result", ["cell", "seeds", "why"], rows)
