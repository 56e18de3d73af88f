"""`labelsieve analyze`: why and when prompt tuning resists wrong labels, in figures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import common
from .several import SeveralValues

app = typer.Typer(
    no_args_is_help=True,
    help="Losses, gradients and class-name tokens under label noise: data, figures and a page.",
)
Out = Annotated[Path, typer.Option("-o", "--out", help="Folder for data, figures and page.")]


@app.command("losses", cls=SeveralValues)
def losses_command(
    out: Out,
    losses: Annotated[
        list[str] | None, typer.Option(help="Names of losses; dspt ce gce mae sce phuber.")
    ] = None,
    classes: Annotated[
        list[int] | None, typer.Option(help="Numbers of classes; 2 10 100 1000.")
    ] = None,
    scales: Annotated[list[float] | None, typer.Option(help="Logit scales; 1 10 100.")] = None,
    seed: common.Seed = 0,
    force: common.Force = False,
    config: common.Config = None,
    verbose: common.Verbose = 0,
    quiet: common.Quiet = False,
) -> None:
    """Losses and gradients over target probability, rival, number of classes and logit scale."""
    from ..analysis import loss_study

    page = loss_study.analyze_losses(
        out,
        losses=losses or loss_study.DEFAULT_LOSSES,
        classes=classes or loss_study.DEFAULT_CLASSES,
        scales=scales or loss_study.DEFAULT_SCALES,
        random_state=seed,
        force=force,
        command=common.command_line(),
    )
    typer.echo(f"page {page}  (open it in a browser)")
