"""The page of `deft.py`: tables, the reliability plot, and whether the paper's order holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd

TITLES = {
    "f1": "F1 of the clean set",
    "precision": "Precision of the clean set",
    "recall": "Recall of the clean set",
    "test_accuracy": "Test accuracy after phase 2, and of the baselines",
    "best_f1": "F1 at the best cut through the scores, which only the truth can name",
    "average_precision": "Average precision of finding wrong labels",
    "train_accuracy": "Accuracy of the classifier on the training images, by their true labels",
    "calibration_error": "Expected calibration error of p_clean",
    "raw_calibration_error": "Expected calibration error of the paper's clean probability",
    "processor_seconds": "Processor seconds of detection (features cached for `none`)",
}
DUAL = "dual-prompts none"
ORDER = (
    ("recall", ("label-match",)),
    ("f1", ("small-loss mixture", "small-loss known rate", "keep everything")),
    ("best_f1", ("small-loss mixture", "label-match")),
    ("test_accuracy", ("fft ce", "label-match", "small-loss mixture", "small-loss known rate")),
)
Records = dict[str, dict[str, Any]]


def write_page(records: Records, out: Path, about: str) -> None:
    """The tables and the plot of what is measured so far, beside the JSON file."""
    parts = ("model", "case", "seed", "method", "phase")
    table = pd.DataFrame(
        [
            dict(zip(parts, key.split(" | "), strict=True)) | record
            for key, record in records.items()
        ]
    )
    draw_reliability(records, out.with_name(f"{out.name}-reliability.svg"))
    lines = ["# DeFT on small models", "", about, ""]
    lines += ["Why the order is as it is: [dual-prompts](../detectors/dual-prompts.md).", ""]
    lines += order(table)
    for model, of_model in table.groupby("model", sort=False):
        lines += [f"## {model}", ""]
        for column, title in TITLES.items():
            here = of_model[of_model[column].notna()] if column in of_model else of_model[:0]
            if len(here):
                lines += [f"### {title}", "", *pivot(here, column), ""]
    lines += ["## Reliability of the clean probability", ""]
    lines += [f"![Reliability]({out.name}-reliability.svg)", ""]
    lines += ["Dual prompts, all cells pooled, ten bins."]
    out.with_suffix(".md").write_text("\n".join(lines) + "\n")


def order(table: pd.DataFrame) -> list[str]:
    """In how many label sets dual prompts on frozen features lead, over the seeds of both."""
    lines = ["## Does the paper's order hold?", ""]
    lines += [
        "Dual prompts (`none`) minus the other, mean over the seeds of both; `fft ce` is full"
    ]
    lines += ["fine-tuning on all labels.", ""]
    cases = sorted(case for case in table["case"].unique() if not case.endswith("clean"))
    lines += [f"| model | figure | against | ahead in | {' | '.join(cases)} |"]
    lines += ["|---" * (4 + len(cases)) + "|"]
    for model, of_model in table.groupby("model", sort=False):
        for column, others in ORDER:
            if column not in of_model:
                continue
            figures = of_model.pivot_table(column, ["case", "seed"], "method")
            for other in others:
                if DUAL not in figures or other not in figures:
                    continue
                lead = figures[DUAL] - figures[other]
                lead = lead.groupby("case").mean().reindex(cases)
                n, ahead = lead.notna().sum(), (lead > 0).sum()
                if n:
                    cells = ["" if pd.isna(v) else f"{v:+.3f}" for v in lead]
                    row = [model, column.replace("_", " "), other, f"{ahead} of {n}", *cells]
                    lines.append(f"| {' | '.join(row)} |")
    return [*lines, ""]


def pivot(table: pd.DataFrame, column: str) -> list[str]:
    """One Markdown table: methods in rows, label sets in columns; n where seeds are not three."""
    cases = sorted(table["case"].unique())
    digits = 1 if column.startswith("processor") else 3
    lines = ["| method | " + " | ".join(cases) + " |", "|---" * (len(cases) + 1) + "|"]
    for method, of_method in table.groupby("method", sort=False):
        cells = []
        for case in cases:
            values = of_method.loc[of_method["case"] == case, column]
            spread = f" ± {values.std():.{digits}f}" if len(values) > 1 else ""
            n = "" if len(values) == 3 else f" (n={len(values)})"
            cells.append(f"{values.mean():.{digits}f}{spread}{n}" if len(values) else "")
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return lines


def draw_reliability(records: Records, path: Path) -> None:
    """Share of clean labels against clean probability, pooled over all cells of dual prompts."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    curves = {}
    for field in ("raw_reliability", "reliability"):
        rows = [row for record in records.values() for row in record.get(field, [])]
        table = pd.DataFrame(rows, columns=["p", "clean", "n"])
        table = table.assign(bin=(table.p * 10).astype(int).clip(upper=9))
        table = table.assign(p=table.p * table.n, clean=table.clean * table.n)
        curves[field] = table.groupby("bin")[["p", "clean", "n"]].sum()
    if curves["reliability"].empty:
        return
    pyplot.rcParams["svg.hashsalt"] = "deft"
    figure, axes = pyplot.subplots(figsize=(4.2, 4), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="perfect")
    styles = {"raw_reliability": ("the paper's", "s--"), "reliability": ("calibrated", "o-")}
    for field, (label, style) in styles.items():
        pooled = curves[field]
        axes.plot(pooled.p / pooled.n, pooled.clean / pooled.n, style, label=label)
    axes.set(xlabel="clean probability", ylabel="share of labels that are right")
    axes.legend(frameon=False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def read(path: Path) -> Records:
    """The cells of a JSON file."""
    return json.loads(path.read_text()) if path.exists() else {}


def write(records: Records, path: Path) -> None:
    """Cells to a JSON file, a line each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    lines = [f"{json.dumps(key)}: {json.dumps(record)}" for key, record in records.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
