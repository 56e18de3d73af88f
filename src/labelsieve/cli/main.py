"""The `labelsieve` command."""

from __future__ import annotations

import io
import logging
import sys

import typer

from ..core.exceptions import LabelSieveError
from ..core.version import __version__
from . import (
    adapt,
    analyze,
    apply,
    bench,
    cache,
    demo,
    evaluate,
    export,
    noise,
    predict,
    report,
    review,
    scan,
    tune,
)

app = typer.Typer(
    name="labelsieve",
    help="Find wrong labels in image data sets, and train classifiers that resist them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for verb in (demo, scan, tune, adapt, predict, evaluate, noise, report, review, apply, export):
    app.command(verb.__name__.rpartition(".")[2])(verb.command)
app.add_typer(analyze.app, name="analyze")
app.add_typer(bench.app, name="bench")
app.add_typer(cache.app, name="cache")


def _show_version(value: bool) -> None:
    if value:
        typer.echo(f"labelsieve {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: bool = typer.Option(
        False, "--version", callback=_show_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Find wrong labels in image data sets, and train classifiers that resist them."""


def _escape_what_the_terminal_lacks() -> None:
    """Names that its encoding cannot show would end a command whose work is done, with status 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def run() -> None:
    """Run the command line; errors of ours and of the disk end it with status 2, never with 1."""
    _escape_what_the_terminal_lacks()
    try:
        app()
    except LabelSieveError as error:
        typer.echo(f"error: {error}", err=True)
    except OSError as error:  # a full disk, a folder that cannot be written
        logging.getLogger("labelsieve").info("%s", error, exc_info=True)
        typer.echo(
            f"error: {error}; see whether there is room and the place can be read and written, "
            "then run the same command again",
            err=True,
        )
    sys.exit(2)
