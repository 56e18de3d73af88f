"""Figures that can be read in grey: line styles differ where colours do, axes carry units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

DOTS_PER_INCH = 150
COLOURS = ("#111111", "#b4481a", "#1f6f9c", "#8a8a8a", "#6a3d9a", "#b8860b", "#2e7d4f", "#c2185b")
DASHES: tuple[Any, ...] = (
    "solid",
    (0, (5, 2)),
    (0, (1, 1.2)),
    (0, (7, 2, 1, 2)),
    (0, (3, 1, 1, 1, 1, 1)),
    (0, (9, 3)),
    (0, (2, 2)),
    (0, (6, 1, 1, 1)),
)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
SETTINGS: Any = {
    "svg.hashsalt": "labelsieve",  # same data, same file
    "font.size": 9.0,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9.5,
    "axes.titleweight": "bold",
    "axes.grid": True,
    "grid.color": "#e3e3e0",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "lines.linewidth": 1.5,
    "figure.facecolor": "white",
}


def line_style(index: int) -> dict[str, Any]:
    """Colour and dashes of the line number `index`."""
    return {
        "color": COLOURS[index % len(COLOURS)],
        "linestyle": DASHES[index % len(DASHES)],
    }


def panels(
    n: int, *, columns: int = 3, height: float = 2.6, share_y: bool = False
) -> tuple[Figure, list[Axes]]:
    """A figure with `n` axes in rows of at most `columns`; what is left over stays empty.

    Parameters
    ----------
    n : int
        Number of axes.
    columns : int
        Axes in a row.
    height : float
        Of a row, in inches; the figure is 8 inches wide.
    share_y : bool
        Whether all axes have the same vertical range.
    """
    columns = min(columns, n if n != 4 else 2)
    rows = -(-n // columns)
    with mpl.rc_context(SETTINGS):
        figure = Figure(figsize=(8.0, height * rows + 0.4))
        figure.set_layout_engine("constrained", h_pad=0.1)  # a title stays apart from the row above
        grid = figure.subplots(rows, columns, squeeze=False, sharey=share_y)
    axes = list(grid.flat)
    for left_over in axes[n:]:
        left_over.remove()
    return figure, axes[:n]


def epoch_axis(ax: Axes) -> None:
    """A horizontal axis of epochs: ticks at whole numbers."""
    ax.set_xlabel("epochs done")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))


def log_axis(ax: Axes) -> None:
    """A logarithmic vertical axis whose ticks read 0.2, 1, 20."""
    ax.set_yscale("log")
    ax.yaxis.set_major_formatter(FuncFormatter(plain_number))
    ax.yaxis.set_minor_formatter(FuncFormatter(plain_number))


def plain_number(value: float, position: int | None = None) -> str:
    """A tick label for the leading digits 1, 2 and 5; others stay without one."""
    leading = f"{value:e}"[0] if value > 0 else ""
    return f"{value:g}" if leading in ("1", "2", "5") else ""


def legend_below(figure: Figure, axes: Axes, *, columns: int = 6) -> None:
    """One legend for the whole figure, with the lines of one of its axes."""
    handles, labels = axes.get_legend_handles_labels()
    with mpl.rc_context(SETTINGS):
        figure.legend(handles, labels, loc="outside lower center", ncols=min(columns, len(labels)))


def panel_legend(axes: Axes) -> None:
    """A legend below one panel, for panels whose lines differ."""
    with mpl.rc_context(SETTINGS):
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.17), fontsize=8)


def save_figure(figure: Figure, folder: Path, name: str) -> None:
    """Write `name`.png and `name`.svg; the same figure gives the same bytes."""
    with mpl.rc_context(SETTINGS):
        figure.savefig(folder / f"{name}.png", dpi=DOTS_PER_INCH)
        figure.savefig(folder / f"{name}.svg", metadata={"Date": None})
