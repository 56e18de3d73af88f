"""`labelsieve predict`: classify images with a saved classifier."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..core.text import counted
from . import common
from .common import say


def command(
    model: Annotated[Path, typer.Argument(help="Folder of a saved classifier, or of a scan.")],
    data: common.Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="Parquet file to write.")],
    backbone: Annotated[
        str | None, typer.Option(help="Model to use in place of the recorded one.")
    ] = None,
    image_column: common.ImageColumn = None,
    label_column: common.LabelColumn = None,
    split: common.Split = None,
    device: common.Device = "auto",
    offline: common.Offline = False,
    force: common.Force = False,
    verbose: common.Verbose = 0,
    quiet: common.Quiet = False,
) -> None:
    """Write id, file_name, predicted_label and p_predicted for every image."""
    from ..sieve.predict import predict_file

    n, unreadable = predict_file(
        model,
        data,
        out,
        backbone=backbone,
        image_column=image_column,
        label_column=label_column,
        split=split,
        device=device,
        offline=offline,
        force=force,
    )
    if unreadable:
        say(f"{counted(unreadable, 'image')} cannot be read: no predicted_label there")
    typer.echo(f"{counted(n, 'prediction')} in {out}")
