"""The output folder of an analysis: whole or absent, and never somebody else's files."""

from __future__ import annotations

import os
from pathlib import Path

from ..core.exceptions import InputError

RUN_FILE = "analysis.json"
"""What was run; by it a folder is known as the output of an analysis."""

WORK = ".work"
"""Sub-folder in which an unfinished analysis keeps what it has measured."""


def check_target(out: Path | str, force: bool) -> Path:
    """The absolute output folder, if an analysis may be written there.

    Parameters
    ----------
    out : Path or str
        A new or empty folder, or that of an interrupted run.
    force : bool
        Whether an earlier analysis may be replaced.

    Raises
    ------
    InputError
        If a file or other files are in the way, or an analysis without `force`.
    """
    target = Path(os.path.abspath(Path(out).expanduser()))
    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is a file; name a new folder with -o")
    held = {path.name for path in target.iterdir()} if target.exists() else set()
    if RUN_FILE in held and not force:
        raise InputError(f"{target} holds an analysis; add --force to replace it")
    if held and not held & {RUN_FILE, WORK}:
        raise InputError(
            f"{target} holds files that are not of an analysis, which are not replaced, even with "
            "--force; name a new folder with -o"
        )
    return target
