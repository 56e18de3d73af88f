"""`labelsieve report`: write the HTML report of a scan again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import common
from .common import say


def command(
    folder: Annotated[Path, typer.Argument(help="Output folder of a scan.")],
    thumbnails: Annotated[int, typer.Option(min=0, help="Images to show.")] = 400,
    verbose: common.Verbose = 0,
    quiet: common.Quiet = False,
) -> None:
    """Write report.html from the files of a scan; images are read where they were."""
    from ..report import write_report
    from ..sieve.reopen import images_of_scan

    images, problem = images_of_scan(folder)
    if problem:
        say(f"note: {problem}; the report shows no thumbnails")
    typer.echo(str(write_report(folder, images=images, max_thumbnails=thumbnails)))
