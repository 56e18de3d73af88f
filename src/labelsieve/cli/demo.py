"""`labelsieve demo`: the whole story on real handwritten digits, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import common


def command(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for data and results.")] = Path(
        "labelsieve-demo"
    ),
    noise: Annotated[float, typer.Option(min=0.0, max=0.9, help="Share of labels to flip.")] = 0.3,
    seed: common.Seed = 0,
    json: common.Json = False,
    verbose: common.Verbose = 0,
    quiet: common.Quiet = False,
) -> None:
    """Flip labels of scikit-learn's digits, find them again, and print what was measured."""
    from ..bench.demo import run_demo, tables
    from ..report import write_report

    result = run_demo(
        out,
        noise=noise,
        random_state=seed,
        finish=lambda folder, found: write_report(folder, images=found),
    )
    if json:
        common.print_json(result)
        return
    from rich.console import Console

    console = Console(highlight=False)
    for table in tables(result):
        console.print(table)
    typer.echo(f"report {out / 'scan' / 'report.html'}  (open it in a browser)")
