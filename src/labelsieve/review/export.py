"""Decisions as a CSV file, for colleagues and other tools."""

from __future__ import annotations

import csv
from pathlib import Path

from ..core.exceptions import InputError
from ..core.serialization import atomic_path
from .store import FILE, DecisionStore

COLUMNS = ("id", "action", "label", "reviewer", "time")


def export_decisions(folder: Path | str, target: Path | str) -> int:
    """Write the decisions that hold as CSV with the columns `COLUMNS`, ordered by id.

    Parameters
    ----------
    folder : Path or str
        Output folder of a scan.
    target : Path or str
        File to write; an existing one is replaced.

    Returns
    -------
    int
        Number of decisions.

    Raises
    ------
    InputError
        If there are no decisions yet, or the file cannot be written.
    """
    source = Path(folder) / FILE
    if not source.is_file():
        raise InputError(f"{folder} holds no decisions yet; run `labelsieve review {folder}` first")
    store = DecisionStore(source)
    try:
        decisions = store.all()
    finally:
        store.close()
    try:
        with (
            atomic_path(target) as partial,
            partial.open("w", encoding="utf-8", newline="") as file,
        ):
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for d in decisions:
                writer.writerow([d.id, d.action, d.label or "", d.reviewer or "", d.time or ""])
    except OSError as error:
        raise InputError(f"cannot write {target}: {error}") from error
    return len(decisions)
