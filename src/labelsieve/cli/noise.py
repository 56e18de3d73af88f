"""`labelsieve noise`: inject label noise with a seed, to measure methods against."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import common

DEFAULT_RATE = 0.2
KINDS = ("symmetric", "pair-flip", "class-dependent", "instance-dependent", "few-shot")


def command(
    data: common.Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the noisy data set.")],
    kind: Annotated[str, typer.Option(help=", ".join(KINDS) + ".")] = "symmetric",
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            max=1.0,
            help="Share of labels to make wrong, 0.2 by default; not for class-dependent "
            "and few-shot.",
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
    shots: Annotated[
        int | None,
        typer.Option(min=1, help="For few-shot: images with the name of a class; 16 by default."),
    ] = None,
    wrong: Annotated[
        int | None,
        typer.Option(min=0, help="For few-shot: how many of them are of other classes; 4."),
    ] = None,
    confusions_from: Annotated[
        str | None,
        typer.Option(
            help="For few-shot: model (hub id or directory) whose zero-shot confusions decide."
        ),
    ] = None,
    image_column: common.ImageColumn = None,
    label_column: common.LabelColumn = None,
    class_names: common.ClassNames = None,
    split: common.Split = None,
    seed: common.Seed = 0,
    device: common.Device = "auto",
    offline: common.Offline = False,
    json: common.Json = False,
    force: common.Force = False,
    verbose: common.Verbose = 0,
    quiet: common.Quiet = False,
) -> None:
    """Write a data set with noisy labels beside the labels it had before."""
    few_shot = {"shots": shots, "wrong": wrong, "confusions_from": confusions_from}
    _check_kind(kind, few_shot, {"rate": rate, "matrix": matrix, "normalize": normalize or None})
    images = common.read_images(
        data, image_column, label_column, class_names, split, offline=offline
    )
    if kind == "few-shot":
        from ..sieve.few_shot_noise import write_few_shot_noise

        noisy = write_few_shot_noise(
            images,
            out,
            shots=16 if shots is None else shots,
            n_wrong=4 if wrong is None else wrong,
            confusions_from=confusions_from,
            random_state=seed,
            force=force,
            device=device,
            offline=offline,
        )
    else:
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


def _check_kind(kind: str, few_shot: dict[str, Any], others: dict[str, Any]) -> None:
    """A flag that the kind would silently ignore is an error."""
    from ..core.exceptions import gather
    from ..core.validation import check_choice

    check_choice(kind, KINDS, name="--kind")
    foreign = others if kind == "few-shot" else few_shot
    remark = "is for other kinds" if kind == "few-shot" else "is for --kind few-shot"
    given = [name.replace("_", "-") for name, value in foreign.items() if value is not None]
    gather([f"--{name} {remark}; leave it out" for name in given], what=f"{kind} noise")
