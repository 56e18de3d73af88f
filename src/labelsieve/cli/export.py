"""`labelsieve export`: a classifier or a scan in the form of another program."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from . import common


def command(
    source: Annotated[
        Path,
        typer.Argument(metavar="MODEL|OUT", help="Folder of a saved classifier, or of a scan."),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder or file to write.")],
    format: Annotated[
        str, typer.Option("--format", help="weights, onnx, or a format for data sets.")
    ],
    backbone: Annotated[
        str | None, typer.Option(help="Model to use in place of the recorded one.")
    ] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", help="NAME=VALUE, an option of the format; may be repeated."),
    ] = None,
    offline: common.Offline = False,
    json: common.Json = False,
    force: common.Force = False,
    verbose: common.Verbose = 0,
    quiet: common.Quiet = False,
) -> None:
    """Write a saved classifier as ONNX or plain weights, or a scan for another program."""
    from ..export import export_folder

    options = common.parse_params(param)
    if backbone is not None:
        options["backbone"] = backbone
    written = export_folder(
        source, out, format=format, options=options, offline=offline, force=force
    )
    if json:
        common.print_json({"format": format, "files": [str(path) for path in written]})
        return
    for path in written:
        typer.echo(str(path))
