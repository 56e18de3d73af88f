"""What the prompt study costs, how sure its choice of a learning rate is, and what is not run."""

from __future__ import annotations

import numpy as np
import pandas as pd
from prompt_protocol import (
    CHOOSING_SEEDS,
    CHOSEN_ON,
    FACTORS,
    METHODS,
    N_ROWS,
    RATES,
    SHOTS,
    UNLABELLED,
    choosing,
    measured,
)
from prompt_tables import KEY, REGIMES, in_order, spread, table

SEEDS = 3
HUMAN = ("human aggre", "human random1", "human worse")


def whole(cells: pd.DataFrame, regime: str) -> tuple[list[str], list[str], dict[str, int]]:
    """Methods, kinds of labels, and the fits of each method in a whole study of a ground."""
    methods = [m for m in METHODS if regime == "few" or m not in UNLABELLED]
    noise = ["none", *(f"{kind} {r:g}" for kind in ("symmetric", "pair-flip") for r in RATES)]
    if (cells["noise"].str.startswith("human")).any():
        noise += HUMAN
    fits = [
        *choosing(methods, regime, noise),
        *measured(methods, regime, noise, SEEDS, {}),
    ]
    return methods, noise, {m: sum(cell.method == m for cell in fits) for m in methods}


def cost_section(cells: pd.DataFrame) -> list[str]:
    """Time of one processor, so far and for the whole study of a ground."""
    rows = []
    for (ground, regime), here in cells.groupby(KEY):
        _, _, needed = whole(cells[cells["ground"] == ground], str(regime))
        by = here.groupby("method")["cpu_seconds"].agg(["mean", "count"])
        minutes = sum(n * by["mean"].get(method, np.nan) for method, n in needed.items()) / 60
        left = sum(max(0, n - by["count"].get(method, 0)) for method, n in needed.items())
        rows.append(
            [
                f"{ground}, {REGIMES[str(regime)]}",
                f"{len(here)}",
                f"{here['cpu_seconds'].sum() / 60:.1f}",
                f"{left}",
                "" if np.isnan(minutes) else f"{minutes:.1f}",
            ]
        )
    header = ["ground", "fits run", "their minutes", "fits left", "minutes of the whole study"]
    return [
        "## Cost",
        "",
        "Minutes of one processor, from the record of every fit (those by which learning rates are "
        "chosen too); features, which are computed once, are not counted. The whole study is "
        "every method, every kind of labels and three seeds; its minutes are the fits it needs "
        "times the mean of those that were run, and are left out where a method has not been run.",
        "",
        *table(header, rows),
    ]


def choice_section(cells: pd.DataFrame, facts: pd.DataFrame) -> list[str]:
    """What the held-out labels can tell about learning rates."""
    held = cells[cells["held_out"].astype(bool) & ~cells["method"].isin(UNLABELLED)]
    sizes = facts.set_index("ground")
    rows = []
    for (ground, regime), here in held.groupby(KEY):
        few = SHOTS * sizes["n_classes"][ground]
        n = int(few if regime == "few" else 0.2 * min(N_ROWS, sizes["n_train"][ground]))
        n *= len(CHOOSING_SEEDS)
        for noise in CHOSEN_ON:
            wide = here[here["noise"] == noise].pivot_table(
                index="method", columns="factor", values="accuracy"
            )
            if wide.empty:
                continue
            ranked = np.sort(wide.to_numpy(), axis=1)
            level = float(np.nanmedian(ranked[:, -1]))
            error = (2 * level * (1 - level) / n) ** 0.5
            sure = int((ranked[:, -1] - ranked[:, -2] > error).sum())
            rows.append(
                [
                    f"{ground}, {REGIMES[str(regime)]}, {noise}",
                    f"{n}",
                    f"{level:.3f}",
                    f"{error:.3f}",
                    f"{np.median(ranked[:, -1] - ranked[:, -2]):.3f}",
                    f"{sure} of {len(wide)}",
                ]
            )
    header = ["case", "held-out labels", "accuracy on them", "error of a difference",
              "lead of the best rate", "methods where it is larger"]  # fmt: skip
    return [
        "## How sure the choice of a learning rate is",
        "",
        "Medians over the methods. The error is that of a difference of two independent shares of "
        "so many labels. Where the best rate leads the second by less, the choice is close to "
        "a draw among the rates, also among those that turn out to be bad.",
        "",
        *table(header, rows),
    ]


def rates_section(cells: pd.DataFrame) -> list[str]:
    """Test accuracy at every rate that was scored, chosen or not."""
    scored = cells[~cells["held_out"].astype(bool)]
    scored = scored.sort_values("noise", key=lambda n: n.map(in_order), kind="stable")
    factors = sorted({*FACTORS, *scored["factor"]} - {1.0})  # 1: untrained
    rows = []
    for (ground, regime), here in scored.groupby(KEY, sort=True):
        for noise in here["noise"].unique():
            for method in METHODS:
                mine = here[(here["noise"] == noise) & (here["method"] == method)]
                if set(FACTORS) <= set(mine["factor"]):
                    by = [mine[mine["factor"] == factor]["accuracy"] for factor in factors]
                    case = f"{ground}, {REGIMES[str(regime)]}, {noise}"
                    rows.append([case, method, *map(spread, by)])
    if not rows:
        return []
    return [
        "### At every learning rate",
        "",
        "Test accuracy, the rate as a multiple of the default; nothing is chosen here.",
        "",
        *table(["case", "method", *(f"{f:g}" for f in factors)], rows),
    ]


def missing_section(cells: pd.DataFrame) -> list[str]:
    """What the commands would still run, by ground and regime."""
    lines = [
        "## Not measured yet",
        "",
        "The commands above run whatever is missing and keep the rest.",
        "",
    ]
    rows = []
    grounds = cells["ground"].unique()
    for ground in grounds:
        of_ground = cells[cells["ground"] == ground]
        for regime in REGIMES:
            here = of_ground[(of_ground["regime"] == regime) & ~of_ground["held_out"].astype(bool)]
            methods, noise, _ = whole(of_ground, regime)
            done = {(m, n) for m, n in zip(here["method"], here["noise"], strict=True)}
            gaps: dict[tuple[str, ...], list[str]] = {}
            for method in methods:
                kinds = ["none"] if method in UNLABELLED else noise
                left = tuple(kind for kind in kinds if (method, kind) not in done)
                if left:
                    gaps.setdefault(left, []).append(method)
            for left, of in gaps.items():
                names = "all methods" if len(of) == len(methods) else ", ".join(of)
                kinds = "all labels" if len(left) == len(noise) else ", ".join(left)
                rows.append([f"{ground}, {REGIMES[regime]}", names, kinds])
    return [*lines, *table(["ground", "methods", "labels"], rows)] if rows else []
