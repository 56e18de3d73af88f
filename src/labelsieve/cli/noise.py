"""`labelsieve noise`: inject label noise with a seed, to measure methods against."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import common


def command(
    data: common.Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the noisy data set.")],
    kind: Annotated[str, typer.Option(help="symmetric or pair-flip.")] = "symmetric",
    rate: Annotated[float, typer.Option(min=0.0, max=1.0, help="Share of labels to flip.")] = 0.2,
    image_column: common.ImageColumn = None,
    label_column: common.LabelColumn = None,
    class_names: common.ClassNames = None,
    split: common.Split = None,
    seed: common.Seed = 0,
    offline: common.Offline = False,
    json: common.Json = False,
    force: common.Force = False,
    verbose: common.Verbose = 0,
    quiet: common.Quiet = False,
) -> None:
    """Write a data set with noisy labels beside the labels it had before."""
    images = common.read_images(
        data, image_column, label_column, class_names, split, offline=offline
    )
    from ..data import write_noisy

    noisy = write_noisy(images, out, kind=kind, rate=rate, random_state=seed, force=force)
    result = {"kind": kind, "rate": rate, "realised_rate": noisy.realised_rate, "seed": seed}
    if json:
        common.print_json(result)
        return
    typer.echo(
        f"{kind} noise on {noisy.realised_rate:.2%} of the labels: {out} "
        "(column `label`; the labels before are in `label_before_noise`)"
    )
