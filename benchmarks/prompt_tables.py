"""From the records of `prompt_study.py` to tables: what counts, paired differences, Markdown."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
from prompt_protocol import N_ROWS, SHOTS, UNLABELLED, chosen, like

REGIMES = {"few": f"{SHOTS} shots", "all": f"{N_ROWS:,} images (or all)"}
KEY = ["ground", "regime"]


def read(folder: Path) -> tuple[pd.DataFrame, ...]:
    """Cells, facts of the grounds, their starts, and the comparisons of DSPT with PromptMAE."""
    records = [
        {"ground": path.stem} | json.loads(line)
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    parts = ("regime", "probe", "confidence", "classes")
    return tuple(pd.DataFrame([r for r in records if part in r]) for part in parts)


def spread(values: pd.Series) -> str:
    """Mean, standard deviation (n - 1) and, where it is not 3, the number of seeds."""
    if values.empty:
        return ""
    sd = f" ± {values.std():.3f}" if len(values) > 1 else ""
    return f"{values.mean():.3f}{sd}" + ("" if len(values) == 3 else f" (n={len(values)})")


def table(header: list[str], rows: list[list[str]]) -> list[str]:
    """A table in Markdown."""
    lines = ["| " + " | ".join(header) + " |", "|:--" + "|--:" * (len(header) - 1) + "|"]
    return [*lines, *("| " + " | ".join(row) + " |" for row in rows), ""]


def as_chosen(cells: pd.DataFrame) -> pd.DataFrame:
    """The measured cells, without those of rates that more draws have ruled out since."""
    parts = []
    for (_, regime), here in cells.groupby(KEY, sort=False):
        rates = chosen(here.to_dict("records"), str(regime))
        wanted = [
            rates.get((method, like(noise)), 1.0)
            for method, noise in zip(here["method"], here["noise"], strict=True)
        ]
        parts.append(here[~here["held_out"].astype(bool) & (here["factor"] == wanted)])
    return pd.concat(parts)


def in_order(noise: str) -> tuple[int, str]:
    """Clean labels first, then injected noise by rate, then that of people."""
    kind = noise.partition(" ")[0]
    return ["none", "symmetric", "pair-flip", "human"].index(kind), noise


def with_unlabelled(cells: pd.DataFrame) -> pd.DataFrame:
    """What needs no labels is the same for all of them."""
    parts, free = [cells], cells[cells["method"].isin(UNLABELLED)]
    for (ground, regime, noise), _ in cells.groupby([*KEY, "noise"]):
        if (regime, noise) != ("few", "none"):
            same = free[free["ground"] == ground]
            parts.append(same.assign(regime=regime, noise=noise))
    return pd.concat(parts, ignore_index=True)


def paired(scored: pd.DataFrame, first: str, second: str) -> pd.DataFrame:
    """Accuracy of the first method less that of the second, by seed."""
    index = [*KEY, "noise", "seed"]
    columns = scored.pivot_table(index=index, columns="method", values="accuracy")
    if not {first, second} <= set(columns):
        return pd.DataFrame(columns=[*index, "lead"])
    lead = (columns[first] - columns[second]).dropna().rename("lead")
    return lead.reset_index()


def lead_text(found: pd.DataFrame) -> str:
    """Mean of paired differences with its standard deviation; bold where it exceeds it."""
    if found.empty:
        return ""
    values = found["lead"]
    mean, sd = values.mean(), values.std()
    text = f"{mean:+.3f} ± {sd:.3f}"
    return f"**{text}**" if len(values) > 2 and abs(mean) > sd else text
