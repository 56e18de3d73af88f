"""Mean, spread and a paired comparison of methods over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

MIN_SEEDS = 3
"""Fewer seeds say nothing about the spread of a difference."""


@dataclass(frozen=True)
class Merit:
    """A figure of merit: its column, its title, and whether higher is better."""

    column: str
    title: str
    higher: bool = True
    digits: int = 3


MERITS = (
    Merit("average_precision", "Average precision of ranking by label score"),
    Merit("f1", "F1 of the flagged set"),
    Merit("precision", "Precision of the flagged set"),
    Merit("recall", "Recall of the flagged set"),
    Merit("auroc", "AUROC of ranking by label score"),
    Merit("clean_f1", "F1 of the clean set"),
    Merit("clean_precision", "Precision of the clean set"),
    Merit("clean_recall", "Recall of the clean set"),
    Merit("precision_at_1_percent", "Precision in the worst 1 % of the images"),
    Merit("precision_at_5_percent", "Precision in the worst 5 % of the images"),
    Merit("precision_at_10_percent", "Precision in the worst 10 % of the images"),
    Merit("p_clean_calibration_error", "Expected calibration error of p_clean", False),
    Merit("noise_rate_error", "Error of the estimated noise rate", False),
    Merit("noise_matrix_total_variation", "Total variation of the noise matrix, by row", False),
    Merit("noise_matrix_mean_absolute", "Mean absolute error of the noise matrix", False),
    Merit("accuracy", "Test accuracy after the last epoch"),
    Merit("mean_class_accuracy", "Mean accuracy of the classes"),
    Merit("macro_f1", "Macro F1"),
    Merit("expected_calibration_error", "Expected calibration error of the classifier", False),
)


@dataclass(frozen=True)
class Summary:
    """The values of a method over seeds.

    Attributes
    ----------
    mean, sd : float
        Standard deviation of the sample (n - 1); NaN for one seed.
    n : int
        Number of seeds.
    ahead : bool
        Best of its column by more than the spread; see `is_ahead`.
    """

    mean: float
    sd: float
    n: int
    ahead: bool = False


@dataclass(frozen=True)
class Comparison:
    """One figure of merit of one model: methods in rows, data and noise in columns."""

    model: str
    merit: Merit
    methods: list[str]
    cases: list[tuple[str, str]]
    cells: Mapping[tuple[str, tuple[str, str]], Summary] = field(default_factory=dict)


def compare(table: pd.DataFrame, merits: tuple[Merit, ...] = MERITS) -> Iterator[Comparison]:
    """Every figure of merit that was measured, model by model.

    Parameters
    ----------
    table : DataFrame
        Of `collect`.
    merits : tuple of Merit
        What is compared.
    """
    done: Any = table[table["status"] == "ok"]
    for model, of_model in done.groupby("model", sort=False):
        for merit in merits:
            if merit.column not in of_model:
                continue
            here: Any = of_model[of_model[merit.column].notna()]
            if len(here):
                yield _comparison(str(model), merit, here)


def _comparison(model: str, merit: Merit, table: Any) -> Comparison:
    cells: dict[tuple[str, tuple[str, str]], Summary] = {}
    cases = list(dict.fromkeys(zip(table["data"], table["noise"], strict=True)))
    for case in cases:
        of_case = table[(table["data"] == case[0]) & (table["noise"] == case[1])]
        values = {
            str(method): rows.set_index("seed")[merit.column].astype(float)
            for method, rows in of_case.groupby("method", sort=False)
        }
        winner = is_ahead(values, higher=merit.higher)
        for method, found in values.items():
            sd = float(found.std(ddof=1)) if len(found) > 1 else float("nan")
            summary = Summary(float(found.mean()), sd, len(found), method == winner)
            cells[method, case] = summary
    return Comparison(model, merit, list(dict.fromkeys(table["method"])), cases, cells)


def is_ahead(values: Mapping[str, pd.Series], *, higher: bool) -> str | None:
    """The method that is best by more than the spread of its lead, or None.

    The lead over the second best (both by mean) is taken seed by seed. It counts when there are at
    least three common seeds and its mean is larger than its standard deviation (n - 1).

    Parameters
    ----------
    values : mapping from method to Series
        Figures with the seed as index.
    higher : bool
        Whether higher is better.

    Examples
    --------
    >>> good, bad = pd.Series([0.8, 0.6, 0.7]), pd.Series([0.7, 0.5, 0.65])
    >>> is_ahead({"a": good, "b": bad}, higher=True)
    'a'
    """
    if len(values) < 2:
        return None
    ordered = sorted(values, key=lambda name: float(values[name].mean()), reverse=higher)
    lead = (values[ordered[0]] - values[ordered[1]]).dropna().to_numpy(dtype=float)
    if len(lead) < MIN_SEEDS:
        return None
    mean = float(lead.mean()) * (1 if higher else -1)
    return ordered[0] if mean > max(float(np.std(lead, ddof=1)), 1e-12) else None
