"""`labelsieve tune`: fit a classifier to given labels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from . import common
from .common import say

TUNERS = (
    "zero-shot, coop, nlprompt, joapr, classifier-r, classifier-c, tenc-ft, tip-adapter, "
    "posterior, robust-upl, fft, vpt or vlpt"
)


def command(
    data: common.Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the classifier.")],
    model: common.Model = "openai/clip-vit-base-patch16",
    tuner: Annotated[str, typer.Option(help=f"Which tuner to fit: {TUNERS}.")] = "coop",
    loss: Annotated[str | None, typer.Option(help="Loss, where the tuner takes one.")] = None,
    shots: Annotated[int | None, typer.Option(min=1, help="Images a class; all if unset.")] = None,
    visual_tuning: Annotated[
        str | None,
        typer.Option(help=f"How the image encoder is adapted meanwhile: {common.TUNINGS}."),
    ] = None,
    param: common.Params = None,
    test: Annotated[str | None, typer.Option(help="Data set to evaluate on afterwards.")] = None,
    image_column: common.ImageColumn = None,
    label_column: common.LabelColumn = None,
    class_names: common.ClassNames = None,
    split: common.Split = None,
    seed: common.Seed = 0,
    device: common.Device = "auto",
    dtype: common.Dtype = "auto",
    offline: common.Offline = False,
    json: common.Json = False,
    force: common.Force = False,
    config: common.Config = None,
    verbose: common.Verbose = 0,
    quiet: common.Quiet = False,
) -> None:
    """Fit a classifier (CoOp with the loss dspt unless told otherwise) and save it."""
    given: dict[str, Any] = {"loss": loss, "shots": shots, "visual_tuning": visual_tuning}
    params = {k: v for k, v in given.items() if v is not None} | common.parse_params(param)
    images = common.read_images(
        data, image_column, label_column, class_names, split, offline=offline
    )
    tested = None
    if test is not None:  # before the training, so that a mistake costs no time
        columns = (image_column, label_column, class_names)
        tested = common.read_test(test, data, images, *columns, offline=offline)
    from ..bench.evaluate import evaluate
    from ..sieve.tune import tune

    try:
        fitted = tune(
            images,
            out,
            tuner=tuner,
            params=params,
            model=model,
            device=device,
            dtype=dtype,
            offline=offline,
            random_state=seed,
            force=force,
        )
    except KeyboardInterrupt:
        say(f"interrupted; run the same command to continue from what {out} and the cache keep")
        raise typer.Exit(130) from None
    result: dict[str, Any] = {"model": str(out), "history": fitted.history_}
    if tested is not None:
        result["test"] = evaluate(fitted, tested)
    if json:
        common.print_json(result)
        return
    typer.echo(f"classifier {common.classifier_line(out)}")
    if tested is not None:
        typer.echo(f"test accuracy {result['test']['accuracy']:.4f} on {result['test']['n']:,}")
