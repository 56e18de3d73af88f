"""Figures, tables and sentences of `analyze losses`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from .figures import legend_below, line_style, panels
from .loss_curves import N_DRAWS
from .page import Section


def curve_figure(curves: pd.DataFrame, path: str, value: str) -> Figure:
    """One panel a number of classes, one line a loss.

    Parameters
    ----------
    curves : DataFrame
        From `loss_curves`.
    path : {"target-probability", "gap"}
    value : {"value", "label_gradient", "gradient_norm"}
        What is drawn.
    """
    chosen = curves.loc[curves["path"] == path]
    labels = {
        "value": "loss minus its minimum",
        "label_gradient": r"|dL/dz$_y$|",
        "gradient_norm": r"norm of dL/dz",
    }
    figure, axes = panels(chosen["n_classes"].nunique(), columns=2)
    for ax, (k, of_k) in zip(axes, chosen.groupby("n_classes"), strict=True):
        for i, (loss, line) in enumerate(of_k.groupby("loss", sort=False)):
            y = line[value] - (line[value].min() if value == "value" else 0.0)
            ax.plot(line["x"], y, label=loss, **line_style(i))
        ax.set_title(f"{k:,} classes")
        ax.set_ylabel(labels[value])
        if path == "gap":
            ax.set_xlabel("logit of the label minus logit of its rival")
            ax.set_yscale("log")
            ax.set_ylim(bottom=1e-4)
        else:
            ax.set_xlabel("target probability")
        if value == "value":
            ax.set_ylim(-0.2, 8)
    legend_below(figure, axes[0])
    return figure


def scale_figure(effect: pd.DataFrame) -> Figure:
    """One panel a loss: gradients of rightly and wrongly labeled samples over the scale."""
    figure, axes = panels(effect["loss"].nunique(), columns=3, share_y=True)
    for ax, (loss, of_loss) in zip(axes, effect.groupby("loss", sort=False), strict=True):
        for i, (label, line) in enumerate(of_loss.groupby("label", sort=False)):
            style = line_style(i)
            ax.plot(line["logit_scale"], line["gradient_norm"], label=f"{label} label", **style)
            ax.fill_between(
                line["logit_scale"], line["low"], line["high"], color=style["color"], alpha=0.15
            )
        ax.set_title(str(loss))
        ax.set_xscale("log")
        ax.set_yscale("log")
        ax.set_xlabel("logit scale")
    for ax in axes[::3]:
        ax.set_ylabel("norm of the gradient\nby the cosines")
    legend_below(figure, axes[0])
    return figure


def bounds_figure(bounds: pd.DataFrame) -> Figure:
    """How fast double softmax and absolute error become the same with the number of classes."""
    figure, axes = panels(1, columns=1, height=3.0)
    k = bounds["n_classes"]
    axes[0].plot(k, bounds["spread"], label="in value", marker="o", **line_style(0))
    axes[0].plot(k, bounds["gradient_gap"], label=r"in |dL/dz$_y$|", marker="s", **line_style(1))
    axes[0].plot(k, (math.e - 2) / k, label="(e - 2) / K", **line_style(3))
    axes[0].set_xscale("log")
    axes[0].set_yscale("log")
    axes[0].set_xlabel("number of classes K")
    axes[0].set_ylabel("largest difference, dspt to mae")
    legend_below(figure, axes[0])
    return figure


def sections(
    zones: pd.DataFrame,
    bounds: pd.DataFrame,
    effect: pd.DataFrame,
    scales: list[float],
    classes: list[int],
) -> list[Section]:
    """What the page says, with the numbers of this run in it."""
    return [
        Section(
            "The loss over the target probability",
            "The other classes share the rest of the probability equally. Losses that grow "
            "without bound towards probability 0 (ce, sce) can be dominated by a few wrong "
            "labels; dspt, mae and gce are bounded, and values of dspt differ by 1 at most, "
            "whatever the number of classes.",
            "loss",
        ),
        Section(
            "The gradient on the label's logit",
            "The same path, now with how strongly the label's logit is pushed up. Towards "
            "probability 0, on the left, the gradient of ce is largest; that of dspt and mae "
            "vanishes on both sides and is largest in the middle, near 1/4.",
            "gradient",
        ),
        Section(
            "The saturation zone",
            "Now one rival alone competes with the label. A loss is saturated where its gradient "
            "on the label is below 1 % of its peak: samples whose label lies that far behind "
            "(left) are ignored, be they mislabeled or clean but hard. The table says where the "
            f"zone begins with {max(classes):,} classes; a dash says that there is none within "
            "15 logits.",
            "gap",
            _zone_table(zones.loc[zones["n_classes"] == max(classes)]),
        ),
        Section(
            "What the logit scale does",
            "100 classes at CLIP's typical cosines (true class 0.27, the others 0.20 with "
            f"deviation 0.02; median of {N_DRAWS} draws, bands are quartiles). At scale 100 the "
            "saturating losses move rightly labeled samples much more than wrongly labeled ones. "
            "At scale 1 all probabilities are about 1/K, both gradients are alike, and no loss "
            "filters anything. The last column is wrong over right.",
            "scale",
            _scale_table(effect.loc[effect["logit_scale"].isin(scales)]),
        ),
        Section(
            "Double softmax against absolute error",
            "dspt is mae plus a constant plus something that shrinks like 1/K: with 100 classes "
            "or more expect the same training, with 2 to 10 classes a difference. min, uniform "
            "and max are values of dspt: sure and right, undecided, sure and wrong.",
            "classes",
            bounds.assign(**{c: bounds[c].map("{:.6f}".format) for c in bounds.columns[1:]})
            .rename(columns={"n_classes": "classes", "gradient_gap": "largest gradient gap"}),
        ),
    ]  # fmt: skip


def _zone_table(zones: pd.DataFrame) -> pd.DataFrame:
    def shown(form: str) -> Any:
        return lambda value: "–" if np.isnan(value) else form.format(value)

    return pd.DataFrame(
        {
            "loss": zones["loss"],
            "peak of |dL/dz_y|": zones["peak"].map("{:.4f}".format),
            "at gap": [  # a peak at the edge of the path is a limit
                "–" if wrong and abs(gap) > 14.9 else f"{gap + 0.0:.2f}"
                for gap, wrong in zip(zones["peak_gap"], zones["wrong_gap"].isna(), strict=True)
            ],
            "ignored below gap": zones["wrong_gap"].map(shown("{:.2f}")),
            "that is p_y": zones["wrong_probability"].map(shown("{:.1e}")),
            "done above gap": zones["right_gap"].map(shown("{:.2f}")),
        }
    )


def _scale_table(effect: pd.DataFrame) -> pd.DataFrame:
    wide = effect.pivot_table(
        index=["logit_scale", "loss"], columns="label", values="gradient_norm", sort=False
    ).reset_index()
    wide = wide.sort_values("logit_scale", ascending=False, kind="stable")
    return pd.DataFrame(
        {
            "loss": wide["loss"],
            "logit scale": wide["logit_scale"].map("{:g}".format),
            "right label": wide["right"].map("{:.4g}".format),
            "wrong label": wide["wrong"].map("{:.4g}".format),
            "wrong / right": (wide["wrong"] / wide["right"]).map("{:.3g}".format),
        }
    )
