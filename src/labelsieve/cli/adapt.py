"""`labelsieve adapt`: fine-tune an image encoder on the labels that a scan believes."""

from __future__ import annotations

import contextlib
import io
import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.exceptions import InputError, LabelSieveError
from . import common
from .common import say


def command(
    data: common.Data,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the classifier.")],
    issues: Annotated[
        Path | None,
        typer.Option(
            help="issues.parquet of a scan, or its folder; only labels that it believes are used."
        ),
    ] = None,
    backbone: Annotated[
        str | None,
        typer.Option(help="Hub id or directory of the model to train; unset, that of the scan."),
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(
            help="How labels are doubted in training: ce (not at all), sce, elr, gmm, small-loss, "
            "or another loss; without --issues, on all given labels."
        ),
    ] = None,
    relabel: Annotated[
        bool, typer.Option("--relabel", help="Use suggested labels where the action is relabel.")
    ] = False,
    epochs: Annotated[int | None, typer.Option(min=0, help="Passes over the images.")] = None,
    precision: Annotated[
        str | None, typer.Option(help="Of the training: auto, float32, bfloat16 or float16.")
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
    """Fine-tune an image encoder with a linear head on the labels that a scan believes."""
    if issues is None and baseline is None:
        raise InputError(
            "adapt needs --issues FILE, the issues of a scan (labelsieve scan DATA -o OUT); to "
            "train on all given labels name a --baseline, such as ce"
        )
    if issues is not None and issues.is_file() and issues.suffix != ".parquet":
        raise InputError(f"--issues takes issues.parquet or the folder of a scan, not {issues}")
    given: dict[str, Any] = {"epochs": epochs, "precision": precision}
    params = {k: v for k, v in given.items() if v is not None} | common.parse_params(param)
    with _one_voice() as is_main, _processes(device) as accelerator:
        columns = (image_column, label_column, class_names)
        images = common.read_images(data, *columns, split, offline=offline)
        tested = None
        if test is not None:  # before the training, so that a mistake costs no time
            tested = common.read_test(test, data, images, *columns, offline=offline)
        from ..detectors import LabelIssues
        from ..sieve.adapt import DEFAULT, adapt, model_of_scan

        scanned = model_of_scan(issues) if issues is not None and backbone is None else None
        model, revision = scanned or (backbone or DEFAULT, None)
        try:
            done = adapt(
                images,
                None if issues is None else LabelIssues.load(issues),
                out,
                backbone=model,
                revision=revision,
                baseline=baseline or "ce",
                relabel=relabel,
                params=params,
                device=device,
                dtype=dtype,
                offline=offline,
                random_state=seed,
                force=force,
                accelerator=accelerator,
            )
        except KeyboardInterrupt:
            say(f"interrupted; run the same command to continue from what {out} keeps")
            raise typer.Exit(130) from None
        if is_main:
            _show(done, out, model, tested, json)


def _show(done: Any, out: Path, model: str, tested: Any, json: bool) -> None:
    result: dict[str, Any] = {
        "model": str(out),
        "backbone": model,
        "n_images": done.n_images,
        "n_kept": done.n_kept,
        "n_relabeled": done.n_relabeled,
        "history": done.tuner.history_,
    }
    if tested is not None:
        from ..bench.evaluate import evaluate

        result["test"] = evaluate(done.tuner, tested)
    if json:
        common.print_json(result)
        return
    relabeled = f", {done.n_relabeled:,} of them relabeled" if done.n_relabeled else ""
    typer.echo(f"trained {model} on {done.n_kept:,} of {done.n_images:,} images{relabeled}")
    typer.echo(f"classifier {common.classifier_line(out)}")
    if tested is not None:
        typer.echo(f"test accuracy {result['test']['accuracy']:.4f} on {result['test']['n']:,}")


@contextlib.contextmanager
def _one_voice() -> Any:
    """Whether this is the main process of `torchrun` or `accelerate launch`; others are silent."""
    if int(os.environ.get("RANK", "0")) == 0:
        yield True
        return
    common._be_quiet(True)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield False
    except LabelSieveError:  # the main process meets the same and says it
        raise typer.Exit(2) from None


@contextlib.contextmanager
def _processes(device: str) -> Any:
    """An accelerator where several processes were started, else None."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield None
        return
    from accelerate import Accelerator

    # The training loop chooses the precision by itself.
    accelerator = Accelerator(cpu=device == "cpu", mixed_precision="no")
    try:
        yield accelerator
    finally:
        accelerator.end_training()
