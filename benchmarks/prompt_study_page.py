"""The page of `prompt_study.py`: tables, and what was expected against what came.

python benchmarks/prompt_study_page.py docs/results/prompt-tuning
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pandas as pd
from prompt_study import (
    CHOOSING_SEEDS,
    CHOSEN_ON,
    FACTORS,
    METHODS,
    N_ROWS,
    PLANS,
    SHOTS,
    STEPS,
    UNLABELLED,
    UNTRAINED,
    chosen,
    like,
)

REGIMES = {"few": f"{SHOTS} shots", "all": f"{N_ROWS:,} images (or all)"}
KEY = ["ground", "regime"]
NOTED = ("symmetric 0.25", "symmetric 0.5", "pair-flip 0.25", "pair-flip 0.5", "human worse")


def read(folder: Path) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Cells, facts of the grounds, and the comparisons of DSPT with PromptMAE."""
    records = [
        {"ground": path.stem} | json.loads(line)
        for path in sorted(folder.glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    parts = ("regime", "probe", "classes")
    return tuple(pd.DataFrame([r for r in records if part in r]) for part in parts)  # type: ignore


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


def grounds_section(facts: pd.DataFrame, scored: pd.DataFrame) -> list[str]:
    """What a ground has to offer before any label is wrong."""
    rows = []
    clean = scored[scored["noise"] == "none"]
    for fact in facts.to_dict("records"):
        here = clean[clean["ground"] == fact["ground"]]
        shown = [
            spread(found["accuracy"]) if len(found) else ""
            for regime in REGIMES
            for method in ("coop ce", "coop dspt", "classifier-r")
            for found in [here[(here["regime"] == regime) & (here["method"] == method)]]
        ]
        zero = here[here["method"] == "zero-shot"]["accuracy"]
        sizes = [str(fact["n_classes"]), f"{fact['n_train']:,}", f"{fact['n_test']:,}"]
        levels = [f"{zero.mean():.3f}" if len(zero) else "", f"{fact['probe']:.3f}"]
        rows.append([fact["ground"], *sizes, *levels, *shown])
    tuned = [f"{m}, {r}" for r in REGIMES for m in ("coop ce", "coop dspt", "classifier-r")]
    header = ["ground", "classes", "train", "test", "zero-shot", "linear probe", *tuned]
    return ["## The grounds, on clean labels", "", *table(header, rows)]


def accuracy_section(scored: pd.DataFrame) -> list[str]:
    """One table a ground and regime."""
    lines = ["## Test accuracy after the last epoch", ""]
    for (ground, regime), here in scored.groupby(KEY, sort=False):
        noises = list(dict.fromkeys(here["noise"]))
        rows = []
        for method in METHODS:
            mine = here[here["method"] == method]
            if len(mine):
                shown = rates_of(mine) if method not in UNTRAINED else ""
                found = [mine[mine["noise"] == noise]["accuracy"] for noise in noises]
                rows.append([method, shown, *(spread(f) if len(f) else "" for f in found)])
        rates = here[here["method"] == "coop ce"].groupby("noise")["rate"].mean()
        names = [f"{n} ({rates[n]:.2f} wrong)" if n.startswith("human") else n for n in noises]
        lines += [f"### {ground}, {REGIMES[str(regime)]}", ""]
        lines += table(["method", "lr / default", *names], rows)
    return lines


def rates_of(cells: pd.DataFrame) -> str:
    """The chosen multiples of the default rate: clean labels, few wrong ones, many."""
    if cells["method"].iloc[0] in UNLABELLED:
        return f"{cells['factor'].iloc[0]:g}"
    by = cells.groupby(cells["noise"].map(like))["factor"].first()
    return " / ".join(f"{by[kind]:g}" for kind in CHOSEN_ON if kind in by)


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
    return ["### Our tuner, posterior, less each other method", "", *table(["case", *others], rows)]


def classes_section(alike: pd.DataFrame) -> list[str]:
    """DSPT against PromptMAE by the number of classes."""
    lines = ["## DSPT and PromptMAE by the number of classes", ""]
    if alike.empty:
        return lines
    columns = ["dspt", "mae", "ce", "same as mae", "apart from mae", "same as ce", "apart from ce"]
    rows = [
        [str(k), str(noise), *(spread(here[column]) for column in columns)]
        for (k, noise), here in alike.groupby(["classes", "noise"])
    ]
    lines += [
        f"`photo-tiny-imagenet`, its first K classes, {SHOTS} shots, about {STEPS} steps at the "
        "default rate, the same start and order. *same as*: share of all test images, those of "
        "other classes too, with the prediction of DSPT. *apart from*: distance of the learned "
        "context to that of DSPT, in units of the way that DSPT went from the start.",
        "",
    ]
    return [*lines, *table(["classes", "labels", *columns], rows)]


def cost_section(cells: pd.DataFrame) -> list[str]:
    """Time of one processor."""
    by = cells.groupby(KEY)["cpu_seconds"].agg(["sum", "count"])
    rows = [
        [f"{ground}, {REGIMES[str(regime)]}", f"{int(row['count'])}", f"{row['sum'] / 60:.1f}"]
        for (ground, regime), row in by.iterrows()
    ]
    return ["## Cost", "", "Of one processor, features not counted.", ""] + table(
        ["ground", "fits, those for the learning rates too", "minutes"], rows
    )


def page(folder: Path) -> str:
    """The whole page."""
    cells, facts, alike = read(folder)
    scored = with_unlabelled(as_chosen(cells))
    scored = scored.sort_values("noise", key=lambda n: n.map(in_order), kind="stable")
    plans = "; ".join(f"{REGIMES[r]}: {p['epochs']} epochs in batches of {p['batch_size']}"
                      for r, p in PLANS.items())  # fmt: skip
    lines = [
        "# Prompt tuning under label noise",
        "",
        "`python benchmarks/prompt_study.py GROUND` for each ground, "
        "`python benchmarks/prompt_study.py photo-tiny-imagenet --classes 2 10 50 200`, and "
        "`python benchmarks/prompt_study_page.py` for this page. Mean ± standard deviation over "
        "three seeds; a seed decides the images, the noise and the training. The last epoch "
        f"counts. {plans}. Learning rates: of {', '.join(f'{f:g}' for f in FACTORS)} times the "
        "default the best by accuracy on held-out given labels in draws of the seeds "
        f"{CHOOSING_SEEDS}, which are not measured, chosen once on each of {', '.join(CHOSEN_ON)} "
        "(for clean labels; for up to 0.25 wrong, the human labels aggre and random1 included; "
        "for more); the same rule for every method. `robust-upl` sees no label and is the same in "
        "all columns. The models are small, so differences count, not levels.",
        "",
        *grounds_section(facts, scored),
        *accuracy_section(scored),
        "## What was expected, and what came",
        "",
        "Differences are paired by seed; bold where the mean exceeds the standard deviation.",
        "",
        *loss_section(scored),
        *lead_section(scored, "DSPT less CE: within 0.01 on clean labels, ahead from 0.25 on",
                      "coop dspt", "coop ce"),
        *lead_section(scored, "DSPT less PromptMAE: alike for many classes, apart for few",
                      "coop dspt", "coop mae"),
        *lead_section(scored, "NLPrompt less CE", "nlprompt", "coop ce"),
        *lead_section(scored, "CoOp with CE less Classifier-R", "coop ce", "classifier-r"),
        *lead_section(scored[scored["noise"] == "none"], "Robust UPL less zero-shot: above it",
                      "robust-upl", "zero-shot"),
        *ours_section(scored),
        *classes_section(alike),
        *cost_section(cells),
    ]  # fmt: skip
    notes = folder / "notes.md"
    return "\n".join([*lines, *([notes.read_text().strip(), ""] if notes.exists() else [])])


def main() -> Any:
    """Parse and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/results/prompt-tuning"))
    folder = parser.parse_args().folder
    folder.with_suffix(".md").write_text(page(folder) + "\n")


if __name__ == "__main__":
    main()
