"""`labelsieve bench`: measure methods against true labels, and write the tables."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..core.exceptions import InputError
from ..core.text import counted
from . import common
from .common import say


class SuiteFirst(TyperGroup):
    """`bench SUITE -o RESULTS` beside `bench report RESULTS`: without a known word it is `run`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Put `run` before anything that is no sub-command and no call for help."""
        if args and args[0] not in self.commands and args[0] not in ("-h", "--help"):
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=SuiteFirst,
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Measure methods against true labels: `bench SUITE -o RESULTS`, `bench report RESULTS`.",
)
Results = Annotated[Path, typer.Argument(help="Folder of the results.")]
Root = Annotated[
    str | None,
    typer.Option(help="What ${root} in the suite stands for; else LABELSIEVE_DATA_ROOT."),
]


@app.command("run")
def run(
    suite: Annotated[
        str, typer.Argument(help="smoke, local, ptnl, dspt, deft, human, or a YAML file.")
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the results.")],
    jobs: Annotated[int, typer.Option(min=1, help="Cells at a time.")] = 1,
    engine: common.Engine = "local",
    address: common.Address = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Cells at a time on Ray; unset, one a processor.")
    ] = None,
    data_root: Root = None,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Run failed cells again.")
    ] = False,
    device: common.Device = "auto",
    dtype: common.Dtype = "auto",
    offline: common.Offline = False,
    json: common.Json = False,
    config: common.Config = None,
    verbose: common.Verbose = 0,
    quiet: common.Quiet = False,
) -> None:
    """Run the cells of a suite that have no result yet (`run` may be left out)."""
    cluster = common.read_cluster(engine, address, workers)
    if cluster is not None and jobs != 1:
        raise InputError("with --engine ray, --workers says how many cells run at a time")
    from ..bench.run import run_suite
    from ..bench.suite_load import load_suite

    loaded = load_suite(suite)
    try:
        table = run_suite(
            loaded,
            out,
            jobs=jobs,
            cluster=cluster,
            data_root=data_root,
            device=device,
            dtype=dtype,
            offline=offline,
            retry_failed=retry_failed,
        )
    except KeyboardInterrupt:
        say(f"interrupted; run the same command to continue from what {out} keeps")
        raise typer.Exit(130) from None
    counts = {name: int((table["status"] == name).sum()) for name in ("ok", "failed")}
    if json:
        common.print_json({"results": str(out / "results.parquet"), **counts})
    else:
        done = counted(counts["ok"], "cell")
        typer.echo(f"{done} done, {counts['failed']:,} failed: {out}")
        typer.echo(f"tables  labelsieve bench report {shlex.quote(str(out))}")
    if counts["failed"]:
        raise typer.Exit(1)


@app.command("report")
def report(
    results: Results,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder; RESULTS/report by default.")
    ] = None,
    verbose: common.Verbose = 0,
    quiet: common.Quiet = False,
) -> None:
    """Write tables (Markdown, LaTeX, HTML), figures and costs."""
    from ..bench.report import write_bench_report

    for path in write_bench_report(results, out or results / "report"):
        typer.echo(str(path))


@app.command("check")
def check(
    suite: Annotated[str, typer.Argument(help="Shipped name or YAML file.")],
    data_root: Root = None,
    verbose: common.Verbose = 0,
    quiet: common.Quiet = False,
) -> None:
    """Check a suite, and whether its data sets are there and have the shape it states."""
    from ..bench.data_check import check_data
    from ..bench.suite_load import load_suite

    failed = False
    for found in check_data(load_suite(suite), data_root):
        typer.echo(f"{found.state:<8} {found.data}: {found.text}")
        failed |= found.state == "wrong"
    if failed:
        raise typer.Exit(1)
