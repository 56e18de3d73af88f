"""The page of `prompt_study.py`: tables, and what was expected against what came.

python benchmarks/prompt_study_page.py docs/results/prompt-tuning
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pandas as pd
from prompt_comparisons import lead_section, loss_section, ours_section, ranks_section
from prompt_costs import choice_section, cost_section, missing_section, rates_section
from prompt_facts import STARTS
from prompt_protocol import (
    CHOOSING_SEEDS,
    CHOSEN_ON,
    FACTORS,
    METHODS,
    PLANS,
    SHOTS,
    UNLABELLED,
    UNTRAINED,
    like,
)
from prompt_study import STEPS
from prompt_tables import (
    KEY,
    REGIMES,
    as_chosen,
    in_order,
    read,
    spread,
    table,
    with_unlabelled,
)


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


def start_section(starts: pd.DataFrame) -> list[str]:
    """How strongly right and wrong labels pull before anything is tuned."""
    header = ["ground", "zero-shot confidence"]
    for loss in STARTS:
        header += [f"{loss}, right labels", f"{loss}, wrong / right"]
    rows = []
    for fact in starts.to_dict("records"):
        shown = [fact["ground"], f"{fact['confidence']:.3f}"]
        for loss in STARTS:
            right, wrong = fact[f"{loss} right"], fact[f"{loss} wrong"]
            shown += [f"{right:.3f}", f"{wrong / right:.2f}"]
        rows.append(shown)
    text = (
        "Mean norm of a sample's gradient by the logits at the zero-shot start, with its true "
        "label, and how many times that with a random other label."
    )
    return ["### The pull of right and wrong labels at the start", "", text, "",
            *table(header, rows)]  # fmt: skip


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


def page(folder: Path) -> str:
    """The whole page."""
    cells, facts, starts, alike = read(folder)
    scored = with_unlabelled(as_chosen(cells))
    scored = scored.sort_values("noise", key=lambda n: n.map(in_order), kind="stable")
    plans = "; ".join(f"{REGIMES[r]}: {p['epochs']} epochs in batches of {p['batch_size']}"
                      for r, p in PLANS.items())  # fmt: skip
    factors = " ".join(f"{factor:g}" for factor in FACTORS)
    lines = [
        "# Prompt tuning under label noise",
        "",
        "`python benchmarks/prompt_study.py GROUND` for each ground, "
        f"`python benchmarks/prompt_study.py GROUND --regimes few --factors {factors} --methods "
        "coop_ce coop_dspt classifier-r classifier-c --noise none symmetric_0.25 symmetric_0.5`, "
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
        *start_section(starts),
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
        *ranks_section(scored),
        *ours_section(scored),
        *classes_section(alike),
        *rates_section(cells),
        *choice_section(cells, facts),
        *cost_section(cells),
    ]  # fmt: skip
    notes = folder / "notes.md"
    written = [notes.read_text().strip(), ""] if notes.exists() else []
    return "\n".join([*lines, *written, *missing_section(cells)])


def main() -> Any:
    """Parse and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", default=Path("docs/results/prompt-tuning"))
    folder = parser.parse_args().folder
    folder.with_suffix(".md").write_text(page(folder) + "\n")


if __name__ == "__main__":
    main()
