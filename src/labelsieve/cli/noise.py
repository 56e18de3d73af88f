"""`labelsieve noise`: inject label noise with a seed, to measure methods against."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import common

DEFAULT_RATE = 0.2
KINDS = "symmetric, pair-flip, class-dependent or instance-dependent."


def command(
    data: common.Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the noisy data set.")],
    kind: Annotated[str, typer.Option(help=KINDS)] = "symmetric",
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Share of labels to make wrong; 0.2 by default, and not for class-dependent.",
        ),
    ] = None,
    matrix: Annotated[
        Path | None,
        typer.Option(
            help="For class-dependent: CSV of P(noisy label = column | label before = row)."
        ),
    ] = None,
    normalize: Annotated[
        bool,
        typer.Option(
            "--normalize", help="For instance-dependent: standardise the pixels of each image."
        ),
    ] = False,
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
    from ..data import read_noise_matrix, write_noisy

    noisy = write_noisy(
        images,
        out,
        kind=kind,
        rate=DEFAULT_RATE if rate is None and kind != "class-dependent" else rate,
        matrix=None if matrix is None else read_noise_matrix(matrix, images.class_names),
        normalize=normalize,
        random_state=seed,
        force=force,
    )
    for note in noisy.notes:
        common.say(f"note: {note}")
    if json:
        rates = {name: getattr(noisy, name) for name in ("rate", "expected_rate", "realised_rate")}
        common.print_json({"kind": kind, **rates, "seed": seed})
        return
    typer.echo(
        f"{kind} noise on {noisy.realised_rate:.2%} of the labels (expected "
        f"{noisy.expected_rate:.2%}): {out} "
        "(column `label`; the labels before are in `label_before_noise`)"
    )
