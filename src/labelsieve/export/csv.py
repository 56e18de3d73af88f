"""Issues and decisions of a scan as one CSV file."""

from __future__ import annotations

from pathlib import Path

from ..core.serialization import atomic_path
from ..detectors.issues import write_csv
from .scanned import read_scanned


def export_csv(source: Path, out: Path) -> list[Path]:
    """Write the issues table with the decisions that people made since.

    Parameters
    ----------
    source : Path
        Folder of a scan.
    out : Path
        A file that ends in ``.csv``, or a folder for ``issues.csv``.

    Returns
    -------
    list of Path
        The file written.

    Raises
    ------
    InputError
        If `source` is no finished scan.
    """
    table = read_scanned(source, with_images=False).table
    target = out if out.suffix.lower() == ".csv" else out / "issues.csv"
    with atomic_path(target) as partial:
        write_csv(table, partial)
    return [target]
