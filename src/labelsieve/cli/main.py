"""The `labelsieve` command."""

from __future__ import annotations

import contextlib
import errno
import io
import logging
import sys
from typing import Any

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


class _Reader(io.FileIO):
    """A pipe whose reader may go: nothing is written any more, and the work goes on.

    Any other failure, as of a full disk, is raised once: raised at the end of the process again, it
    would take the place of the status.
    """

    lost = False

    def write(self, data: Any) -> int:
        """Write, or let it be where nobody reads."""
        if not self.lost:
            try:
                return super().write(data)
            except OSError as error:
                self.lost = True
                if error.errno not in (errno.EPIPE, errno.EINVAL):  # the second on Windows
                    raise
        return memoryview(data).nbytes


def _bear_with_the_terminal() -> None:
    """Neither names that its encoding cannot show nor a reader that has gone (`| head -1`) may end
    a command, whose status would then be 1: that of a gate that is not passed.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, io.TextIOWrapper):
            continue
        stream.reconfigure(errors="backslashreplace")
        with contextlib.suppress(OSError):  # no file behind it
            if not stream.isatty():
                setattr(sys, name, _as_pipe(stream))


def _as_pipe(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """The same file as a stream of its own."""
    stream.flush()
    raw = _Reader(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=stream.encoding,
        errors=stream.errors,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def run() -> None:
    """Run the command line; errors of ours and of the disk end it with status 2, never with 1."""
    _bear_with_the_terminal()
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
