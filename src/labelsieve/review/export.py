"""Decisions as a CSV file, for colleagues and other tools."""

from __future__ import annotations

import shlex
from pathlib import Path

from ..core.exceptions import InputError
from ..core.serialization import has_header
from ..sieve.decision_files import decisions_of_scan
from ..sieve.decisions import COLUMNS


def export_decisions(folder: Path | str, target: Path | str) -> int:
    """Write the decisions that hold as CSV with id, action, label, reviewer and time.

    Those that the scan was made with are among them, whether or not the page has been opened since.

    Parameters
    ----------
    folder : Path or str
        Output folder of a scan.
    target : Path or str
        File to write; one of decisions is replaced, another is not.

    Returns
    -------
    int
        Number of decisions.

    Raises
    ------
    InputError
        If there are no decisions yet, another file is in the way, or it cannot be written.
    """
    found = decisions_of_scan(Path(folder))
    if found is None:
        command = f"labelsieve review {shlex.quote(str(folder))}"
        raise InputError(f"{folder} holds no decisions yet; run `{command}` first")
    if Path(target).exists() and not has_header(target, COLUMNS):
        raise InputError(f"{target} exists and holds no decisions; name another file")
    try:
        found.save(target)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error}") from error
    return len(found)
