"""`labelsieve review`: decide about label issues on a web page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..core.text import counted
from . import common
from .common import say


def command(
    folder: Annotated[Path, typer.Argument(help="Output folder of a scan.")],
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="0: the last one of this folder, or a free one.")
    ] = 0,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    allow_network: Annotated[
        bool, typer.Option("--allow-network", help="Let --host be reached by other machines.")
    ] = False,
    browser: Annotated[
        bool, typer.Option("--browser/--no-browser", help="Open the page in the browser.")
    ] = True,
    reviewer: Annotated[
        str | None, typer.Option(help="Your name in the decisions; unset, that of your account.")
    ] = None,
    export: Annotated[
        Path | None, typer.Option(help="Write the decisions to this CSV file and end.")
    ] = None,
    verbose: common.Verbose = 0,
    quiet: common.Quiet = False,
) -> None:
    """Decide about the label issues of a scan on a web page."""
    if export is not None:
        from ..review.export import export_decisions

        say(counted(export_decisions(folder, export), "decision"))
        typer.echo(str(export))
        return
    from ..review import ReviewServer

    server = ReviewServer(
        folder,
        host=host,
        port=port,
        allow_network=allow_network,
        reviewer=_account() if reviewer is None else reviewer,
    )
    if server.session.problem:
        say(f"note: {server.session.problem}; the page shows no images")
    typer.echo(server.url)
    say(f"decisions go to {folder / 'decisions.sqlite'} at once; Ctrl+C ends the server")
    if browser:
        import webbrowser

        # The socket listens already: the browser waits for the first answer.
        webbrowser.open(server.url)
    try:
        server.run()
    except KeyboardInterrupt:
        say("ended; every decision that the page confirmed is saved")


def _account() -> str:
    import getpass

    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # an account without a name
        return ""
