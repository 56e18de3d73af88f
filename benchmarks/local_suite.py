"""The suite `local` (or another), from its run to the committed page.

    python benchmarks/local_suite.py --shared ../shared --results build/local -o docs/results/local

The run is resumable; `--report-only` writes the page of what is there. The page is the report of
`labelsieve bench` with the command, the commit and the machine on top, the paired differences of
the default detector from every other method, and which targets are reached on human labels;
OUT-notes.md, written by hand, says why others are missed.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import subprocess
from pathlib import Path

import pandas as pd

from labelsieve.bench.report import write_bench_report
from labelsieve.bench.results import load_results
from labelsieve.bench.run import run_suite
from labelsieve.bench.suite_load import load_suite

DEFAULT = "latent-label"
MERITS = {"average_precision": "average precision", "f1": "F1 of the flagged set"}
PEERS = ("cleanlab", "cleanlab both")
TARGETS = {
    "average precision ahead of cleanlab": ("average_precision", "peers", 0.08),
    "average precision ahead of every single piece of evidence": (
        "average_precision",
        "evidence",
        0.03,
    ),
    "F1 of the flagged set ahead of cleanlab": ("f1", "peers", 0.05),
    "F1 of the flagged set ahead of every single piece of evidence": ("f1", "evidence", 0.05),
}
RATE_TARGET = 0.03


def paired(table: pd.DataFrame, column: str) -> str:
    """Markdown table of default minus method, mean ± standard deviation over common seeds."""
    done = table[(table["status"] == "ok") & table[column].notna()].copy()
    done["case"] = done["data"] + ": " + done["noise"]
    wide = done.pivot_table(index=["case", "seed"], columns="method", values=column, sort=False)
    if DEFAULT not in wide:
        return f"{DEFAULT} has no result yet."
    lead = wide.drop(columns=DEFAULT).rsub(wide[DEFAULT], axis=0).groupby("case", sort=False)
    mean, spread, count = lead.mean(), lead.std(ddof=1), lead.count()
    lines = ["| labels | " + " | ".join(mean.columns) + " |", "|:--" + "|--:" * mean.shape[1] + "|"]
    for case in mean.index:
        cells = []
        for m in mean.columns:
            n, plus = count.at[case, m], f" ± {spread.at[case, m]:.3f}"
            shown = f"{mean.at[case, m]:+.3f}{plus if n > 1 else ''} (n={n})"
            cells.append(shown if n else "–")
        lines.append(f"| {case} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def targets(table: pd.DataFrame) -> str:
    """What was aimed at on human labels, and what is there: the smallest mean lead over rivals."""
    done = table[(table["status"] == "ok") & (table["noise_kind"] == "human")]
    done = done[done["kind"].isin(["detector", "peer"])]
    lines = ["| target | " + " | ".join(done["noise"].unique()) + " |"]
    lines.append("|:--" + "|--:" * done["noise"].nunique() + "|")
    for title, (column, rivals, least) in TARGETS.items():
        shown = [
            _lead(cells, column, rivals, least) for _, cells in done.groupby("noise", sort=False)
        ]
        lines.append(f"| {title} by {least} | " + " | ".join(shown) + " |")
    shown = []
    for _, cells in done[done["method"] == DEFAULT].groupby("noise", sort=False):
        said, true = cells["estimated_noise_rate"].mean(), cells["noise_rate"].mean()
        verdict = "reached" if abs(said - true) <= RATE_TARGET else "**missed**"
        shown.append(f"{verdict}: {said:.3f} for {true:.3f}")
    lines.append(f"| noise rate within {RATE_TARGET} | " + " | ".join(shown) + " |")
    return "\n".join(lines)


def _lead(cells: pd.DataFrame, column: str, rivals: str, least: float) -> str:
    """The lead over the nearest rival, paired over seeds."""
    wide = cells.pivot_table(index="seed", columns="method", values=column)
    names = [m for m in wide if m != DEFAULT and (m in PEERS) == (rivals == "peers")]
    leads = wide[names].rsub(wide[DEFAULT], axis=0)
    nearest = leads.mean().idxmin()
    lead, spread = leads[nearest].mean(), leads[nearest].std(ddof=1)
    verdict = "reached" if lead >= least else "**missed**"
    return f"{verdict}: {lead:+.3f} ± {spread:.3f} ({nearest})"


def head(table: pd.DataFrame, command: str, notes: Path) -> str:
    """Where the figures come from, the targets, and the paired differences."""
    git = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip()
    lines = [
        f"Command: `{command}`. Commit {commit}. Machine: {platform.machine()}, "
        f"{os.cpu_count()} processors, Python {platform.python_version()}, no GPU used. "
        "It may have been busy with other work: the seconds compare methods roughly.",
        "### Targets on human labels",
        "Smallest lead of the default detector over its rivals, mean ± standard deviation over "
        "seeds.",
        targets(table),
        *([notes.read_text().strip()] if notes.exists() else []),
    ]
    for column, title in MERITS.items():
        lines += [
            f"### {DEFAULT} minus the others: {title}",
            "Paired over seeds: mean ± standard deviation (n - 1); above 0 the default is ahead.",
            paired(table, column),
        ]
    return "\n\n".join(lines)


def publish(results: Path, out: Path, command: str) -> None:
    """Write OUT.md, OUT.csv (every cell) and the figures OUT-*.svg."""
    report = results / "report"
    write_bench_report(results, report)
    _, table = load_results(results)
    text = (report / "report.md").read_text()
    out.parent.mkdir(parents=True, exist_ok=True)
    for figure in sorted((report / "figures").glob("*.svg")):
        name = f"{out.name}-{figure.name}"
        shutil.copyfile(figure, out.parent / name)
        text = text.replace(f"figures/{figure.name}", name)
    title, rest = text.split("\n", 1)
    notes = out.with_name(f"{out.name}-notes.md")
    out.with_suffix(".md").write_text(f"{title}\n\n{head(table, command, notes)}\n{rest}")
    plain = table.select_dtypes(include=["number", "object", "string", "bool"])
    plain.to_csv(out.with_suffix(".csv"), index=False, float_format="%.6g")


def main() -> None:
    """Parse, run, publish."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", default="local")
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--results", type=Path, default=Path("build/local"))
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/results/local"))
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--report-only", action="store_true")
    args = parser.parse_args()
    command = f"python benchmarks/local_suite.py --suite {args.suite}"
    if not args.report_only:
        suite = load_suite(args.suite)
        run_suite(suite, args.results, jobs=args.jobs, data_root=str(args.shared))
    publish(args.results, args.out, command)


if __name__ == "__main__":
    main()
