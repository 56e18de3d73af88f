"""Figures and sentences of `analyze gradients`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .figures import epoch_axis, legend_below, line_style, log_axis, panels
from .page import Section


def figures(
    samples: pd.DataFrame, groups: pd.DataFrame, compared: pd.DataFrame
) -> dict[str, Figure]:
    """All figures of the page, by name.

    Parameters
    ----------
    samples, groups : DataFrame
        Records of single samples and of groups.
    compared : DataFrame
        From `compare_groups`.
    """
    return {
        "sums": _group_figure(groups, "sum_norm", "norm of the summed gradient"),
        "ratios": _ratio_figure(compared),
        "norms": _sample_figure(samples, "gradient_norm", "norm of a sample's gradient", log=True),
        "cosines": _sample_figure(samples, "cosine", "cosine to the total gradient", log=False),
        "coherence": _group_figure(groups, "coherence", "coherence (0..1)", log=False),
    }


def _configurations(table: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """Each combination of loss and class tokens, with a name no longer than needed."""
    several = table["class_tokens"].nunique() > 1
    grouped: Any = table.groupby(["loss", "class_tokens"], sort=False)
    for (loss, tokens), part in grouped:
        yield (f"{loss}, {tokens}" if several else str(loss)), part


def _mean_line(ax: Axes, part: pd.DataFrame, value: str, index: int, label: str) -> None:
    """Mean over seeds at each epoch, with a band from the lowest to the highest."""
    line = part.groupby("epoch")[value].agg(["mean", "min", "max"])
    style = line_style(index)
    ax.plot(line.index, line["mean"], label=label, **style)
    if part["seed"].nunique() > 1:
        ax.fill_between(
            line.index, line["min"], line["max"], color=style["color"], alpha=0.15, linewidth=0
        )


def _group_figure(groups: pd.DataFrame, value: str, name: str, *, log: bool = True) -> Figure:
    """One panel a configuration, clean and noisy samples in it."""
    configurations = list(_configurations(groups))
    figure, axes = panels(len(configurations), share_y=True)
    for ax, (title, part) in zip(axes, configurations, strict=True):
        for i, (group, of_group) in enumerate(part.groupby("group")):
            _mean_line(ax, of_group, value, i, f"{group} samples")
        _dress(ax, title, log=log)
    axes[0].set_ylabel(name)
    legend_below(figure, axes[0])
    return figure


def _sample_figure(samples: pd.DataFrame, value: str, name: str, *, log: bool) -> Figure:
    """Median and quartiles over the samples (of all seeds) of each group."""
    configurations = list(_configurations(samples))
    figure, axes = panels(len(configurations), share_y=True)
    for ax, (title, part) in zip(axes, configurations, strict=True):
        for i, (group, of_group) in enumerate(part.groupby("group")):
            by_epoch = of_group.groupby("epoch")[value]
            low, middle, high = (by_epoch.quantile(q) for q in (0.25, 0.5, 0.75))
            style = line_style(i)
            ax.plot(middle.index, middle, label=f"{group} samples", **style)
            ax.fill_between(middle.index, low, high, color=style["color"], alpha=0.15)
        _dress(ax, title, log=log)
    axes[0].set_ylabel(name)
    legend_below(figure, axes[0])
    return figure


def _ratio_figure(compared: pd.DataFrame) -> Figure:
    """Three ratios of clean to noisy samples, one line a configuration."""
    figure, axes = panels(3, columns=3, height=3.0)
    values = {
        "sum_ratio": "|sum clean| / |sum noisy|",
        "suppression": "mean |g| of noisy / clean",
        "noisy_share": "noisy share of the update",
    }
    for ax, (value, name) in zip(axes, values.items(), strict=True):
        for i, (label, part) in enumerate(_configurations(compared)):
            _mean_line(ax, part, value, i, label)
        _dress(ax, name, log=value == "sum_ratio")
        even = compared["noise_rate"].mean() if value == "noisy_share" else 1.0
        ax.axhline(even, color="#555555", linewidth=0.8)
    legend_below(figure, axes[0])
    return figure


def _dress(ax: Axes, title: str, *, log: bool) -> None:
    ax.set_title(title)
    epoch_axis(ax)
    if log:
        log_axis(ax)


def sections(groups: pd.DataFrame, compared: pd.DataFrame) -> list[Section]:
    """What the page says, with the numbers of this run in it."""
    rate = compared["noise_rate"].mean()
    return [
        Section(
            "How much each group pulls",
            f"{rate:.1%} of the given labels are wrong. If wrong labels cancel each other, the "
            "norm of their summed gradient stays far below that of the clean ones. Lines are means "
            "over the seeds, bands reach from the lowest to the highest.",
            "sums",
        ),
        Section(
            "Clean against noisy",
            "Left: summed clean over summed noisy gradient; above the thin line at 1 the clean "
            "labels win. Middle: the mean gradient of a noisy sample over that of a clean one; "
            "below 1 noisy samples are held down one by one. Right: the share of the total that "
            "comes from noisy samples (projection on its direction); the thin line is their "
            "share of the labels, a negative value means that they pull back. "
            + _findings(compared),
            "ratios",
            _table(compared),
        ),
        Section(
            "Single samples: how strong",
            "Median and quartiles of the norms of single gradients. A loss that saturates shows "
            "a low line for the noisy samples; one that does not shows it above the clean one.",
            "norms",
        ),
        Section(
            "Single samples: which way",
            "Cosine of a sample's gradient to that of all samples together. Samples near 0 "
            "neither help nor hinder the step; negative ones pull against it.",
            "cosines",
        ),
        Section(
            "Coherence",
            "Norm of a group's sum over the sum of its norms: 1 when all its gradients point the "
            "same way, near 0 when they cancel. It falls as a group is learned, since what is "
            "left are contradictions; a smaller group has a higher one by chance.",
            "coherence",
        ),
    ]


def _findings(compared: pd.DataFrame) -> str:
    """One sentence a configuration; medians, since a share of a total near 0 can be anything."""
    parts = []
    for name, part in _configurations(compared):
        if part["noisy_share"].notna().all():
            parts.append(
                f"With {name}, in the median over the epochs a noisy gradient is "
                f"{part['suppression'].median():.2f} times as long as a clean one, and noisy "
                f"samples make {part['noisy_share'].median():.1%} of the total."
            )
    return " ".join(parts) or "There is no noisy sample here to compare with."


def _table(compared: pd.DataFrame) -> pd.DataFrame:
    """First, middle and last measurement of each configuration, mean (and deviation) over seeds."""
    last = int(compared["epoch"].max())
    rows = []
    for name, part in _configurations(compared):
        for epoch in sorted({0, last // 2, last}):
            of_epoch = part.loc[part["epoch"] == epoch]
            rows.append(
                {
                    "loss": name,
                    "epochs": epoch,
                    "sum ratio": _cell(of_epoch["sum_ratio"], "{:.2f}".format),
                    "noisy / clean norm": _cell(of_epoch["suppression"], "{:.2f}".format),
                    "noisy share": _cell(of_epoch["noisy_share"], "{:.1%}".format),
                    "wrong labels fitted": _cell(of_epoch["noisy_fitted"], "{:.1%}".format),
                }
            )
    return pd.DataFrame(rows)


def _cell(values: pd.Series, form: Callable[[float], str]) -> str:
    array = values.to_numpy(float)
    mean = float(array.mean())
    if np.isnan(mean):
        return "–"
    spread = f" ± {form(float(array.std(ddof=1)))}" if len(array) > 1 else ""
    return form(mean) + spread
