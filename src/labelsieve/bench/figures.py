"""Figures of a benchmark: readable in grey, the same bytes for the same results."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .curves import GRID, found_on_grid, precision_on_grid, scores_of

COLOURS = ("#111111", "#b4481a", "#1f6f9c", "#8a8a8a", "#6a3d9a", "#b8860b", "#2e7d4f", "#c2185b")
DASHES: tuple[Any, ...] = ("solid", (0, (5, 2)), (0, (1, 1.2)), (0, (7, 2, 1, 2)), (0, (9, 3)))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
SETTINGS: Any = {
    "svg.hashsalt": "labelsieve",
    "font.size": 8.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 8.5,
    "axes.grid": True,
    "grid.color": "#e3e3e0",
    "legend.frameon": False,
}
MOST_PANELS = 12
Draw = Callable[[Axes, Any, dict[str, dict[str, Any]]], None]


def draw_all(table: pd.DataFrame, results: Path, folder: Path) -> dict[str, str]:
    """Draw what the results allow; file stem -> title.

    Parameters
    ----------
    table : DataFrame
        Of `collect`.
    results : Path
        Folder of the results.
    folder : Path
        Where PNG and SVG files go.
    """
    done: Any = table[table["status"] == "ok"]
    drawn: dict[str, str] = {}
    for column, stem, title in (
        ("accuracy", "accuracy", "Test accuracy against the share of wrong labels"),
        ("average_precision", "detection", "Average precision against the share of wrong labels"),
    ):
        if column not in done:
            continue
        rates: Any = with_clean_start(done[done[column].notna()])
        by_kind: Any = rates.groupby(["model", "data", "noise_kind"])["noise"]
        many = by_kind.transform("nunique") > 1
        draw = _against_rate(column)
        drawn |= _panels(rates[many], ["data", "noise_kind"], draw, folder, stem, title)
    if "average_precision" in done:
        judged = done[done["average_precision"].notna()]
        recall = _curve(results, precision_on_grid, "recall", "precision")
        review = _curve(results, found_on_grid, "share of images looked at", "errors found")
        case = ["data", "noise"]
        drawn |= _panels(judged, case, recall, folder, "precision-recall", "Precision and recall")
        drawn |= _panels(judged, case, review, folder, "review", "Errors found by looking")
    return drawn


def with_clean_start(table: Any) -> pd.DataFrame:
    """Rows without noise as the start of every other kind of noise of their data set."""
    clean, noisy = table[table["noise_kind"] == "none"], table[table["noise_kind"] != "none"]
    parts = [noisy]
    for (model, data, kind), _ in noisy.groupby(["model", "data", "noise_kind"]):
        start = clean[(clean["model"] == model) & (clean["data"] == data)]
        parts.append(start.assign(noise_kind=kind))
    return pd.concat(parts)


def _panels(
    table: Any, by: list[str], draw: Draw, folder: Path, stem: str, title: str
) -> dict[str, str]:
    """Figures of up to twelve panels, those of a model apart."""
    drawn = {}
    for model, of_model in table.groupby("model", sort=False):
        groups = [
            (", ".join(map(str, key)), rows) for key, rows in of_model.groupby(by, sort=False)
        ]
        styles = method_styles(list(dict.fromkeys(of_model["method"])))
        for first in range(0, len(groups), MOST_PANELS):
            number = f"-{first // MOST_PANELS + 1}" if first else ""
            name = f"{stem}-{_slug(str(model))}{number}"
            with mpl.rc_context(SETTINGS):
                figure = _figure(groups[first : first + MOST_PANELS], draw, styles)
                figure.savefig(folder / f"{name}.png", dpi=150)
                figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
            drawn[name] = f"{title} ({model})"
    return drawn


def _figure(groups: list[tuple[str, pd.DataFrame]], draw: Draw, styles: Any) -> Figure:
    columns = min(3, len(groups))
    rows = -(-len(groups) // columns)
    size = (max(2.9 * columns, 4.4), 2.5 * rows + 0.25 * (1 + len(styles) // 3))
    figure = Figure(figsize=size, layout="constrained")
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    handles: dict[str, Any] = {}
    for axis, (title, table) in zip(axes, groups, strict=False):
        axis.set_title(title)
        draw(axis, table, styles)
        handles |= dict(zip(*axis.get_legend_handles_labels()[::-1], strict=True))
    for left_over in axes[len(groups) :]:
        left_over.remove()
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=3)
    return figure


def method_styles(methods: list[str]) -> dict[str, dict[str, Any]]:
    """Colour, dashes and marker of each method; the same in every panel."""
    return {
        method: {
            "color": COLOURS[i % len(COLOURS)],
            "linestyle": DASHES[i % len(DASHES)],
            "marker": MARKERS[i % len(MARKERS)],
        }
        for i, method in enumerate(methods)
    }


def _against_rate(column: str) -> Draw:
    def draw(axis: Axes, table: Any, styles: dict[str, dict[str, Any]]) -> None:
        for method, rows in table.groupby("method", sort=False):
            by_noise = rows.groupby("noise").agg(
                rate=("noise_rate", "mean"), mean=(column, "mean"), sd=(column, "std")
            )
            line = by_noise.sort_values("rate")
            axis.errorbar(
                line["rate"],
                line["mean"],
                yerr=line["sd"].fillna(0.0),
                label=str(method),
                capsize=2,
                markersize=4,
                **styles[str(method)],
            )
        axis.set(xlabel="share of wrong labels", ylabel=column.replace("_", " "))

    return draw


def _curve(results: Path, on_grid: Callable[..., Any], xlabel: str, ylabel: str) -> Draw:
    def draw(axis: Axes, table: Any, styles: dict[str, dict[str, Any]]) -> None:
        for method, rows in table.groupby("method", sort=False):
            lines = [on_grid(*scores_of(results, cell)) for _, cell in rows.iterrows()]
            style = {k: v for k, v in styles[str(method)].items() if k != "marker"}
            axis.plot(GRID, np.mean(lines, axis=0), label=str(method), **style)
        rate = float(table["noise_rate"].mean())
        if ylabel == "precision":
            axis.axhline(rate, color="0.75", linewidth=0.8)
        else:
            axis.plot([0, rate, 1], [0, 1, 1], color="0.75", linewidth=0.8)
            axis.plot([0, 1], [0, 1], color="0.75", linewidth=0.8)
        axis.set(xlabel=xlabel, ylabel=ylabel, xlim=(0, 1), ylim=(0, 1.02))

    return draw


def _slug(text: str) -> str:
    return "".join(c if c.isalnum() or c in "-_" else "-" for c in text)
