"""Figure, table and sentences of `analyze class-tokens`."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from .figures import MARKERS, line_style, panel_legend, panels
from .page import Section
from .token_variants import VARIANTS

REFERENCE = "names"


def summarise(measured: pd.DataFrame) -> pd.DataFrame:
    """Mean and standard deviation over seeds of every variant and rate.

    Parameters
    ----------
    measured : DataFrame
        One row a cell: variant, rate, seed, accuracy.

    Returns
    -------
    DataFrame
        ``variant, rate, mean, deviation`` (NaN with one seed) and ``n`` (seeds).
    """
    grouped = measured.groupby(["variant", "rate"], sort=False)["accuracy"]
    return grouped.agg(mean="mean", deviation="std", n="count").reset_index()


def accuracy_figure(table: pd.DataFrame, zero_shot: float) -> Figure:
    """Accuracy over the noise rate: one panel a question, true names in each for comparison.

    Parameters
    ----------
    table : DataFrame
        From `summarise`.
    zero_shot : float
        Accuracy without any tuning.
    """
    names = list(table["variant"].unique())
    studies = list(dict.fromkeys(VARIANTS[name].study for name in names))
    figure, axes = panels(len(studies), columns=2, height=4.2, share_y=True)
    for ax, study in zip(axes, studies, strict=True):
        shown = [n for n in names if VARIANTS[n].study == study or n == REFERENCE]
        for i, name in enumerate(shown):
            line = table.loc[table["variant"] == name]
            ax.errorbar(
                line["rate"],
                line["mean"],
                yerr=line["deviation"].fillna(0.0),
                label=VARIANTS[name].label,
                marker=MARKERS[i],
                markersize=5,
                capsize=3,
                **line_style(i),
            )
        ax.axhline(zero_shot, color="#555555", linewidth=0.8, label="zero-shot, no tuning")
        ax.set_title(study)
        ax.set_xlabel("share of wrong labels")
        panel_legend(ax)
    axes[0].set_ylabel("accuracy")
    return figure


def sections(table: pd.DataFrame, zero_shot: float, tested: str) -> list[Section]:
    """What the page says, with the numbers of this run in it.

    Parameters
    ----------
    table : DataFrame
        From `summarise`.
    zero_shot : float
        Accuracy without any tuning.
    tested : str
        What the accuracy was measured on.
    """
    return [
        Section(
            "Accuracy against wrong labels",
            f"Mean over seeds (n = {int(table['n'].max())}) on {tested}; bars are one standard "
            f"deviation. The thin line is the zero-shot classifier, {zero_shot:.3f}. "
            + _findings(table),
            "accuracy",
            _table(table),
        )
    ]


def _findings(table: pd.DataFrame) -> str:
    """The best kind of prompt at the lowest and at the highest rate."""
    parts = []
    for rate in sorted({table["rate"].min(), table["rate"].max()}):
        of_rate = table.loc[table["rate"] == rate].sort_values("mean", ascending=False)
        first = of_rate.iloc[0]
        parts.append(
            f"With {rate:.0%} wrong labels the highest mean, {first['mean']:.3f}, is that of "
            f"“{VARIANTS[first['variant']].label}”."
        )
    return " ".join(parts)


def _table(table: pd.DataFrame) -> pd.DataFrame:
    """One row a variant, one column a rate."""
    rows = []
    for name, part in table.groupby("variant", sort=False):
        cells = {"prompt": VARIANTS[str(name)].label}
        for row in part.to_dict("records"):
            spread = f" ± {row['deviation']:.3f}" if row["n"] > 1 else ""
            cells[f"{row['rate']:.0%} wrong"] = f"{row['mean']:.3f}{spread}"
        rows.append(cells)
    return pd.DataFrame(rows)
