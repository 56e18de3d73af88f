"""What was expected of the methods, and what came: paired differences over all cases."""

from __future__ import annotations

from typing import Any

import pandas as pd
from prompt_protocol import METHODS
from prompt_tables import KEY, REGIMES, lead_text, paired, spread, table

MISLED = "pair-flip 0.5 and 0.7, both"
PARTS = (*REGIMES.values(), MISLED)
NOTED = ("symmetric 0.25", "symmetric 0.5", "pair-flip 0.25", "pair-flip 0.5", "human worse")


def lead_section(scored: pd.DataFrame, title: str, first: str, second: str) -> list[str]:
    """A paired comparison of two methods over everything."""
    found = paired(scored, first, second)
    noises = list(dict.fromkeys(scored["noise"]))
    rows = [
        [f"{ground}, {REGIMES[str(regime)]}"]
        + [lead_text(here[here["noise"] == noise]) for noise in noises]
        for (ground, regime), here in found.groupby(KEY, sort=False)
    ]
    return [f"### {title}", "", *table(["ground", *noises], rows)]


def loss_section(scored: pd.DataFrame) -> list[str]:
    """How much accuracy each paradigm loses between clean labels and half of them wrong."""
    methods = ("coop ce", "coop dspt", "classifier-r", "classifier-c", "tenc-ft")
    index = [*KEY, "method", "seed"]
    wide = scored.pivot_table(index=index, columns="noise", values="accuracy").reset_index()
    lines = ["### Prompt tuning degrades less than Classifier-R and TEnc-FT", ""]
    rows = []
    for (ground, regime), here in wide.groupby(KEY, sort=False):
        for noise in NOTED:
            if noise not in here or here[noise].isna().all():
                continue
            lost = here["none"] - here[noise]
            shown = [spread(lost[here["method"] == m].dropna()) for m in methods]
            rows.append([f"{ground}, {REGIMES[str(regime)]}, {noise}", *shown])
    lines += ["Accuracy on clean labels less that on wrong ones.", ""]
    return [*lines, *table(["case", *methods], rows)]


def ranks_section(scored: pd.DataFrame) -> list[str]:
    """Where each method that learns prompts stands among them when labels are wrong."""
    mean = scored.groupby([*KEY, "noise", "method"])["accuracy"].mean().unstack()
    prompts = [m for m in METHODS if m in mean and m.startswith(("coop", "nlprompt"))]
    rank = mean[prompts].rank(axis=1, ascending=False)
    rank = rank[rank.index.get_level_values("noise") != "none"]
    by = rank.groupby(level=list(KEY), sort=False).mean()
    columns = [f"{ground}, {REGIMES[str(regime)]}" for ground, regime in by.index]
    rows = [
        [m, *(f"{v:.1f}" for v in by[m]), f"{rank[m].mean():.1f}"]
        for m in sorted(prompts, key=lambda m: rank[m].mean())
    ]
    text = f"Mean rank of {len(prompts)} over the kinds of wrong labels, 1 = the most accurate."
    return ["### Prompts among themselves", "", text, "", *table(["", *columns, "all"], rows)]


def ours_section(scored: pd.DataFrame) -> list[str]:
    """Our own tuner against every other one."""
    others = [method for method in METHODS if method in set(scored["method"])]
    others.remove("posterior")
    leads = [
        dict(iter(paired(scored, "posterior", other).groupby([*KEY, "noise"]))) for other in others
    ]
    cases = scored[[*KEY, "noise"]].drop_duplicates().sort_values(KEY, kind="stable")
    rows = []
    for ground, regime, noise in cases.itertuples(index=False):
        found = [lead.get((ground, regime, noise)) for lead in leads]
        shown = ["" if lead is None else lead_text(lead) for lead in found]
        if any(shown):
            rows.append([f"{ground}, {REGIMES[regime]}, {noise}", *shown])
    counted = tally(leads, others)
    return [
        "### Our tuner, posterior, less each other method",
        "",
        "Cases (ground, regime, labels) in which `posterior` is ahead / level / behind by the "
        "rule of bold print, then each case.",
        "",
        *table(["against", *PARTS], counted),
        *table(["case", *others], rows),
    ]


def tally(leads: list[dict[Any, pd.DataFrame]], others: list[str]) -> list[list[str]]:
    """How often our tuner is ahead of each other method, level with it, or behind."""
    rows = []
    for other, by_case in zip(others, leads, strict=True):
        counts = dict.fromkeys(PARTS, (0, 0, 0))
        for (_, regime, noise), lead in by_case.items():
            part = MISLED if noise in ("pair-flip 0.5", "pair-flip 0.7") else REGIMES[regime]
            sure, mean = lead_text(lead).startswith("**"), lead["lead"].mean()
            came = (sure and mean > 0, not sure, sure and mean < 0)
            counts[part] = tuple(n + int(c) for n, c in zip(counts[part], came, strict=True))
        rows.append([other, *(" / ".join(map(str, counts[part])) for part in PARTS)])
    return rows
