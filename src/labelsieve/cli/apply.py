"""`labelsieve apply`: write a corrected data set; the originals stay as they are."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.text import counted
from . import common
from .common import say


def command(
    scan: Annotated[
        Path,
        typer.Argument(help="Folder of a scan; with --undo, a folder that `apply` wrote."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="New folder for the data set.")],
    decisions: Annotated[
        Path | None,
        typer.Option(
            help="Decisions: .csv, .sqlite of the review, or .json of Label Studio; by default "
            "those in the folder of the scan."
        ),
    ] = None,
    how: Annotated[
        str | None,
        typer.Option(
            help="metadata (default), copy, link, parquet or hf; with --undo, as it was applied."
        ),
    ] = None,
    accept: Annotated[
        list[str] | None,
        typer.Option(
            help="relabel or drop: take what the scan proposes where nobody decided; may be "
            "repeated."
        ),
    ] = None,
    include_test: Annotated[
        bool, typer.Option("--include-test", help="Change labels of test images too.")
    ] = False,
    undo: Annotated[
        bool,
        typer.Option("--undo", help="Apply the log of a corrected data set backwards."),
    ] = False,
    json: common.Json = False,
    verbose: common.Verbose = 0,
    quiet: common.Quiet = False,
) -> None:
    """Write the data set with corrected labels; without decisions nothing is changed."""
    from ..sieve.apply import apply
    from ..sieve.undo import undo as undo_applied

    if undo:
        if decisions is not None or accept or include_test:
            raise typer.BadParameter("--undo goes with -o and --how only")
        done = undo_applied(scan, out, how=how)
    else:
        done = apply(
            scan,
            out,
            decisions=decisions,
            how=how or "metadata",
            accept=tuple(accept or ()),
            include_test=include_test,
        )
    for note in done.notes:
        say(f"note: {note}")
    figures = {
        "n_images": done.n_images,
        "n_relabeled": sum(change.action == "relabel" for change in done.changes),
        "n_dropped": sum(change.action == "drop" for change in done.changes),
        "n_held_back": len(done.held_back),
    }
    if json:
        common.print_json({"folder": str(done.folder), **figures})
    else:
        typer.echo(_sentence(done.folder, figures, undo))


def _sentence(folder: Path, figures: dict[str, Any], undo: bool) -> str:
    """What was written, in words."""
    relabeled, dropped = figures["n_relabeled"], figures["n_dropped"]
    if undo:
        return (
            f"{counted(figures['n_images'], 'image')} as they were, "
            f"{counted(relabeled, 'label')} taken back and "
            f"{counted(dropped, 'image')} brought back: {folder}"
        )
    if not relabeled and not dropped:
        return (
            f"{counted(figures['n_images'], 'image')}, no label changed: {folder}\n"
            "(decide with `labelsieve review`, or take proposals with --accept relabel)"
        )
    return (
        f"{counted(figures['n_images'], 'image')}, {relabeled:,} relabeled, "
        f"{dropped:,} left out: {folder}\n"
        f"log {folder / 'changes.csv'}  "
        f"(labelsieve apply {shlex.quote(str(folder))} --undo -o FOLDER)"
    )
