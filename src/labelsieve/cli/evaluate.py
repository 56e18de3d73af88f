"""`labelsieve evaluate`: measure a saved classifier on labels you trust."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import common


def command(
    model: Annotated[Path, typer.Argument(help="Folder of a saved classifier, or of a scan.")],
    data: common.Data,
    backbone: Annotated[
        str | None, typer.Option(help="Model to use in place of the recorded one.")
    ] = None,
    image_column: common.ImageColumn = None,
    label_column: common.LabelColumn = None,
    class_names: common.ClassNames = None,
    split: common.Split = None,
    device: common.Device = "auto",
    offline: common.Offline = False,
    json: common.Json = False,
    verbose: common.Verbose = 0,
    quiet: common.Quiet = False,
) -> None:
    """Print accuracy, per-class accuracy and calibration."""
    images = common.read_images(
        data, image_column, label_column, class_names, split, offline=offline
    )
    from ..bench.evaluate import evaluate
    from ..tuners import load_tuner

    result = evaluate(load_tuner(model, backbone=backbone, device=device, offline=offline), images)
    if json:
        common.print_json(result)
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table()
    for column in ("class", "images", "accuracy"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for row in result["per_class"]:
        accuracy = "-" if row["accuracy"] is None else f"{row['accuracy']:.4f}"
        table.add_row(Text(row["class"]), f"{row['n']:,}", accuracy)
    console = Console(highlight=False)
    console.print(table)
    console.print(
        f"accuracy {result['accuracy']:.4f} on {result['n']:,} images, mean over classes "
        f"{result['mean_class_accuracy']:.4f}, expected calibration error "
        f"{result['expected_calibration_error']:.4f}",
        soft_wrap=True,
    )
