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


@app.command("gradients", cls=SeveralValues)
def gradients_command(
    data: common.Data,
    out: Out,
    model: common.Model = "openai/clip-vit-base-patch16",
    truth_column: Annotated[
        str | None,
        typer.Option(help="Column with the true labels; without it noise is injected."),
    ] = None,
    noise: Annotated[str, typer.Option(help="Kind of injected noise.")] = "symmetric",
    rate: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of labels to make wrong.")
    ] = 0.4,
    losses: Annotated[list[str] | None, typer.Option(help="Names of losses; ce dspt.")] = None,
    class_tokens: Annotated[
        list[str] | None,
        typer.Option(help="names, random, shuffled, tuned, tuned-only; names if unset."),
    ] = None,
    shots: Annotated[int, typer.Option(min=0, help="Images a class; 0 takes all.")] = 16,
    epochs: Annotated[int | None, typer.Option(min=0, help="50 with shots if unset.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions, from --seed on.")] = 1,
    param: common.Params = None,
    image_column: common.ImageColumn = None,
    label_column: common.LabelColumn = None,
    class_names: common.ClassNames = None,
    split: common.Split = None,
    seed: common.Seed = 0,
    device: common.Device = "auto",
    offline: common.Offline = False,
    force: common.Force = False,
    config: common.Config = None,
    verbose: common.Verbose = 0,
    quiet: common.Quiet = False,
) -> None:
    """Gradients of clean and noisy samples on the prompt while it is tuned."""
    images = common.read_images(
        data, image_column, label_column, class_names, split, offline=offline
    )
    truth = None
    if truth_column is not None:
        truth = common.read_images(
            data, image_column, truth_column, class_names, split, offline=offline
        )
    from ..analysis import gradient_study

    page = gradient_study.analyze_gradients(
        images,
        out,
        truth=truth,
        model=model,
        losses=losses or gradient_study.DEFAULT_LOSSES,
        class_tokens=class_tokens or ("names",),
        shots=shots or None,
        epochs=epochs,
        params=common.parse_params(param),
        noise=noise,
        rate=rate,
        seeds=seeds,
        random_state=seed,
        force=force,
        command=common.command_line(),
        device=device,
        dtype="float32",
        offline=offline,
    )
    typer.echo(f"page {page}  (open it in a browser)")


@app.command("class-tokens", cls=SeveralValues)
def class_tokens_command(
    data: common.Data,
    out: Out,
    model: common.Model = "openai/clip-vit-base-patch16",
    test: Annotated[
        str | None, typer.Option(help="Data with trusted labels; else a quarter is held out.")
    ] = None,
    variants: Annotated[
        list[str] | None,
        typer.Option(
            help="names random shuffled tuned tuned-only class-specific random-4 random-16 "
            "class-specific-16; all if unset."
        ),
    ] = None,
    rates: Annotated[
        list[float] | None, typer.Option(help="Shares of wrong labels; 0 0.25 0.5.")
    ] = None,
    noise: Annotated[str, typer.Option(help="Kind of injected noise.")] = "symmetric",
    loss: Annotated[str, typer.Option(help="Loss, the same for all.")] = "ce",
    shots: Annotated[int, typer.Option(min=0, help="Images a class; 0 takes all.")] = 16,
    epochs: Annotated[int | None, typer.Option(min=0, help="50 with shots if unset.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions, from --seed on.")] = 3,
    param: common.Params = None,
    image_column: common.ImageColumn = None,
    label_column: common.LabelColumn = None,
    class_names: common.ClassNames = None,
    split: common.Split = None,
    seed: common.Seed = 0,
    device: common.Device = "auto",
    offline: common.Offline = False,
    force: common.Force = False,
    config: common.Config = None,
    verbose: common.Verbose = 0,
    quiet: common.Quiet = False,
) -> None:
    """Accuracy of prompts with true, random, traded or tuned class names under label noise."""
    images = common.read_images(
        data, image_column, label_column, class_names, split, offline=offline
    )
    tested = None
    if test is not None:
        tested = common.read_images(
            test, image_column, None, class_names, "test" if test == data else None, offline=offline
        )
    from ..analysis import token_study

    try:
        page = token_study.analyze_class_tokens(
            images,
            out,
            test=tested,
            model=model,
            variants=variants or tuple(token_study.VARIANTS),
            rates=token_study.DEFAULT_RATES if rates is None else rates,
            noise=noise,
            loss=loss,
            shots=shots or None,
            epochs=epochs,
            params=common.parse_params(param),
            seeds=seeds,
            random_state=seed,
            force=force,
            command=common.command_line(),
            device=device,
            offline=offline,
        )
    except KeyboardInterrupt:
        common.say(f"interrupted; run the same command to continue from what {out} keeps")
        raise typer.Exit(130) from None
    typer.echo(f"page {page}  (open it in a browser)")
