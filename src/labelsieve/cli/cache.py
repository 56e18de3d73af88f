"""`labelsieve cache`: see and remove cached image features."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from ..core.text import counted
from . import common

app = typer.Typer(no_args_is_help=True, help="See and remove cached image features.")


@app.command("ls")
def show(json: common.Json = False) -> None:
    """List what is cached, one line a model."""
    from ..backbones import FeatureCache

    cache = FeatureCache()
    entries = cache.entries()
    if json:
        common.print_json([asdict(entry) for entry in entries])
        return
    for entry in entries:
        typer.echo(
            f"{entry.key}  {entry.images:>9,} images  {entry.bytes / 1e6:>8.1f} MB  "
            f"{entry.dtype:<8}  {entry.model_id}"
        )
    total = sum(entry.bytes for entry in entries)
    typer.echo(f"{counted(len(entries), 'model')}, {total / 1e6:.1f} MB in {cache.path}")


@app.command("rm")
def remove(
    keys: Annotated[
        list[str] | None, typer.Argument(help="Keys or model ids from `cache ls`.")
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Remove all entries.")] = False,
) -> None:
    """Remove cached features; they are computed again when needed."""
    from ..backbones import FeatureCache
    from ..core.exceptions import InputError

    if not keys and not everything:
        raise InputError("name the keys to remove (see `labelsieve cache ls`), or add --all")
    removed = FeatureCache().remove(*([] if everything else keys or []))
    typer.echo(f"removed the features of {counted(len(removed), 'model')}")
