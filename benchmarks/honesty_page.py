"""The page of `honesty.py`: what a scan promises beside what is true.

Everything follows from the kept clean probabilities, so a change of what is said of them needs no
new fit. The tempering keeps the mean, so the inverse slope gives back what the model said itself.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import logit

from labelsieve.bench.metrics import expected_calibration_error
from labelsieve.detectors import DETECTORS
from labelsieve.selection.latent_labels import largest_expected_f1
from labelsieve.selection.tempering import SLOPE, Tempering
from labelsieve.sieve.estimates import ErrorEstimate, expected, noise_rate, share_interval

BUDGET = 200
SLOPES = np.arange(0.4, 1.31, 0.05)


@dataclass(frozen=True)
class Kept:
    """A cell: where it was measured, and what was said of every label beside the truth."""

    data: str
    model: str
    noise: str
    seed: int
    cell: dict[str, Any]

    def with_slope(self, slope: float) -> np.ndarray:
        """p_clean, had the log-odds of the model been given this slope."""
        return Tempering.fit(self.cell["p_clean"], slope / SLOPE)(self.cell["p_clean"])


def said_and_true(kept: Kept, slope: float = SLOPE) -> dict[str, Any]:
    """One row: promises, truth, and whether the intervals hold it."""
    p, wrong = kept.with_slope(slope), kept.cell["wrong"]
    detector, flagged = DETECTORS.get("latent-label"), largest_expected_f1(p)
    spreads = (detector.rate_logit_sd, detector.precision_logit_sd)
    found = ErrorEstimate(1 - p, flagged, np.zeros(len(p), dtype=bool), True, {}, *spreads)
    rate, said = noise_rate(found), expected(found)
    first = np.argsort(p, kind="stable")[:BUDGET]
    low, high = share_interval((1 - p)[first], detector.precision_logit_sd) or (0.0, 1.0)
    precision = float(wrong[flagged].mean()) if flagged.any() else float("nan")
    reach = said["precision_interval"] or [0.0, 1.0]
    true_first = float(wrong[first].mean())
    return {
        "data": kept.data,
        "model": kept.model,
        "noise": kept.noise,
        "seed": kept.seed,
        "true_rate": float(wrong.mean()),
        "rate": rate["estimate"],
        "low": rate["interval"][0],
        "high": rate["interval"][1],
        "rate_held": rate["interval"][0] <= wrong.mean() <= rate["interval"][1],
        "precision_said": said["precision"],
        "precision": precision,
        "precision_low": reach[0],
        "precision_high": reach[1],
        "precision_held": reach[0] <= precision <= reach[1],
        "recall_said": said["recall"],
        "recall": float(flagged[wrong].mean()),
        "f1": 2 * float((flagged & wrong).sum()) / float(flagged.sum() + wrong.sum()),
        "budget_said": float((1 - p)[first].sum()),
        "budget": int(wrong[first].sum()),
        "budget_held": low <= true_first <= high,
        "ece": expected_calibration_error(p, ~wrong),
        "log_loss": log_loss(p, wrong),
        "self_check": float(kept.cell["self_check"]),
    }


def log_loss(p_clean: np.ndarray, wrong: np.ndarray) -> float:
    """Mean negative log-probability of what is true."""
    told = np.where(wrong, 1 - p_clean, p_clean)
    return float(-np.log(np.maximum(told, 1e-12)).mean())


def slope_without(cells: Sequence[Kept], data: str) -> float:
    """The slope with the least log loss on the other data sets.

    Every data set and model weighs the same, whatever its kinds of noise.
    """
    rows = [
        (k.data, k.model, slope, log_loss(k.with_slope(slope), k.cell["wrong"]))
        for k in cells
        if k.data != data
        for slope in SLOPES
    ]
    table = pd.DataFrame(rows, columns=["data", "model", "slope", "loss"])
    table = table.groupby(["slope", "data", "model"])["loss"].mean()
    return float(table.groupby("slope").mean().idxmin())


def spread(table: pd.DataFrame, said: str, true: str) -> float:
    """Root mean square of the error of log-odds; label sets weigh the same."""
    inside = table[true].clip(0.001, 0.999)
    error = logit(table[said]) - logit(inside)
    sets = error.pow(2).groupby([table["data"], table["model"], table["noise"]]).mean()
    return float(np.sqrt(sets.mean()))


def before_and_after(cells: Sequence[Kept]) -> list[str]:
    """Tempering with a slope chosen on the other data sets, beside no tempering."""
    lines = [
        "| data | model | slope of the others | log loss, before / after "
        "| calibration error | precision said - true | first 200 said - true | F1 |",
        "|---|---|---|---|---|---|---|---|",
    ]
    grounds = dict.fromkeys((k.data, k.model) for k in cells)
    slopes = {data: slope_without(cells, data) for data in dict.fromkeys(d for d, _ in grounds)}
    for data, model in grounds:
        here = [k for k in cells if (k.data, k.model) == (data, model)]
        old, new = (pd.DataFrame([said_and_true(k, s) for k in here]) for s in (1.0, slopes[data]))
        gaps = [
            (t["precision_said"] - t["precision"], t["budget_said"] - t["budget"])
            for t in (old, new)
        ]
        lines.append(
            f"| {data} | {model} | {slopes[data]:.2f} | {old['log_loss'].mean():.4f} / "
            f"{new['log_loss'].mean():.4f} | {old['ece'].mean():.3f} / {new['ece'].mean():.3f} | "
            f"{gaps[0][0].mean():+.2f} / {gaps[1][0].mean():+.2f} | {gaps[0][1].mean():+.0f} / "
            f"{gaps[1][1].mean():+.0f} | {old['f1'].mean():.3f} / {new['f1'].mean():.3f} |"
        )
    return lines


def coverage_elsewhere(table: pd.DataFrame) -> str:
    """How often the precision's interval holds on a data set with the width of the others."""
    parts = []
    for data in table["data"].unique():
        there = table["data"] == data
        width = spread(table[~there], "precision_said", "precision")
        held = [_holds(row, width) for _, row in table[there].iterrows()]
        parts.append(f"{data} {sum(held)} of {len(held)}")
    return ", ".join(parts)


def _holds(row: pd.Series, width: float) -> bool:
    """Without the variance of a finite sample, so rather too strict."""
    error = logit(row["precision_said"]) - logit(min(max(row["precision"], 0.001), 0.999))
    return abs(error) <= 1.6449 * width


def summary(cells: Sequence[Kept], table: pd.DataFrame) -> list[str]:
    """The findings in sentences."""
    human = table["noise"].str.startswith("human")
    detector, n = DETECTORS.get("latent-label"), len(table)
    plain = pd.DataFrame([said_and_true(k, 1.0) for k in cells])

    def held(column: str) -> str:
        of_human = f"{int(table[column][human].sum())} of {int(human.sum())}"
        return f"{int(table[column].sum())} of {n} cells, on human noise {of_human}"

    return [
        f"- The interval of the noise rate held the truth in {held('rate_held')}. Log-odds of the "
        f"rate were off by {spread(table, 'rate', 'true_rate'):.3f} (root mean square over label "
        f"sets); the interval uses {detector.rate_logit_sd}.",
        f"- The interval of the precision of the flags held in {held('precision_held')}. Its "
        f"log-odds were off by {spread(table, 'precision_said', 'precision'):.3f}; the interval "
        f"uses {detector.precision_logit_sd}. The interval of the first {BUDGET}, whose width was "
        f"not fitted to them, held in {held('budget_held')}.",
        "- Both widths were taken from these label sets, so this coverage is no test. With the "
        "width that the other data sets ask for, the interval of the precision held in "
        f"{coverage_elsewhere(table)}. On other data it may be worse.",
        f"- Precision of the flags: {table['precision_said'].mean():.2f} promised, "
        f"{table['precision'].mean():.2f} true (without tempering "
        f"{plain['precision_said'].mean():.2f} and {plain['precision'].mean():.2f}). Errors among "
        f"the first {BUDGET}: {table['budget_said'].mean():.0f} promised, "
        f"{table['budget'].mean():.0f} there (without tempering "
        f"{plain['budget_said'].mean():.0f} promised).",
        f"- On human labels a self-check finds {table['self_check'][human].mean():.2f} of its "
        f"flips; of the errors that people made, {table['recall'][human].mean():.2f} are flagged.",
    ]


def write(cells: Sequence[Kept], path: Path, command: str, n_rows: int) -> None:
    """The findings, what tempering changes, and the table by label set."""
    table = pd.DataFrame([said_and_true(k) for k in cells])
    lines = [
        "# Do the estimates of a scan keep their word?",
        "",
        f"Command: `{command}`. Detector latent-label on up to {n_rows:,} rows, "
        f"{table['seed'].nunique()} seeds (a seed draws the rows, the injected noise and the "
        "folds), means over seeds. Intervals are stated to hold in 90 % of cases; `held` counts "
        f"seeds. `first {BUDGET}`: errors among the {BUDGET} worst labels. `self-check`: share "
        "found of a tenth of the labels, flipped along the estimated noise matrix.",
        "",
        *summary(cells, table),
        "",
        "## What tempering changes",
        "",
        "The detector multiplies the log-odds of its clean probabilities by "
        f"{SLOPE} and shifts them so that their mean, the noise rate, stays. The slope was chosen "
        "with the truth in view; here each data set gets the slope that is best on the others. "
        "Before is the model's own probability. Order and average precision do not change.",
        "",
        *before_and_after(cells),
        "",
        "## By label set",
        "",
        "| data | model | noise | true rate | estimate | interval | held "
        "| precision said / true | interval | held | recall said / true "
        f"| first {BUDGET} said / true | self-check |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (data, model, noise), rows in table.groupby(["data", "model", "noise"], sort=False):
        m, n = rows.mean(numeric_only=True), len(rows)
        lines.append(
            f"| {data} | {model} | {noise} | {m['true_rate']:.3f} | {m['rate']:.3f} | "
            f"{m['low']:.3f} to {m['high']:.3f} | {int(rows['rate_held'].sum())} of {n} | "
            f"{m['precision_said']:.2f} / {m['precision']:.2f} | {m['precision_low']:.2f} to "
            f"{m['precision_high']:.2f} | {int(rows['precision_held'].sum())} of {n} | "
            f"{m['recall_said']:.2f} / {m['recall']:.2f} | {m['budget_said']:.0f} / "
            f"{m['budget']:.0f} | {m['self_check']:.2f} |"
        )
    path.write_text("\n".join(lines) + "\n")
