"""What a scan found, with what people decided since, for the export formats of data sets."""

from __future__ import annotations

import logging
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..core.exceptions import InputError, UnreadableImageError
from ..core.serialization import read_json
from ..data import LabeledImages
from ..detectors import LabelIssues
from ..sieve.corrected import usual_ending
from ..sieve.decision_files import decisions_of_scan
from ..sieve.reopen import check_outside, data_of_scan, images_of_scan
from ..sieve.safe_paths import SafePaths

log = logging.getLogger(__name__)
IMAGES = "images"
DECIDED = ("decision", "decided_label", "reviewer")


@dataclass(frozen=True, eq=False)
class Scanned:
    """A scan.

    Attributes
    ----------
    table : pandas.DataFrame
        The issues, and the columns `DECIDED`: what people decided since, missing where nobody did.
    class_names : tuple of str
        The class order.
    images : LabeledImages
        The scanned images, in the order of the table.
    detector : str
        Name of the detector.
    data : Path or None
        Where the scanned data lie, if they are on this machine.
    """

    table: pd.DataFrame
    class_names: tuple[str, ...]
    images: LabeledImages
    detector: str
    data: Path | None

    def class_index(self, column: str) -> list[int | None]:
        """A column of label names as class indices; None where there is none."""
        position = {name: k for k, name in enumerate(self.class_names)}
        return [position.get(name) for name in plain(self.table[column])]


def read_scanned(source: Path, *, with_images: bool = True) -> Scanned:
    """Read a finished scan.

    Raises
    ------
    InputError
        If the folder is of no finished scan, or the images are not where they were.
    """
    if not (source / "run.json").is_file():
        raise InputError(
            f"{source} holds no finished scan (no run.json); this format is for the folder that "
            "`labelsieve scan` wrote"
        )
    issues = LabelIssues.load(source)
    images, problem = images_of_scan(source) if with_images else (None, None)
    if images is None and with_images:
        raise InputError(f"{problem}; this format refers to the images")
    table = issues.table.reset_index(drop=True)
    decisions = decisions_of_scan(source)
    found = {} if decisions is None else {row.id: row for row in decisions.rows}
    rows = [found.get(name) for name in plain(table["id"])]
    values = [
        [row and getattr(row, name) for row in rows] for name in ("action", "label", "reviewer")
    ]
    for column, cells in zip(DECIDED, values, strict=True):
        table[column] = pd.Series(cells, dtype="string")
    names = tuple(str(name) for name in read_json(source / "classes.json"))
    detector = next(iter(plain(table["detector"])), None) or "labelsieve"
    data = data_of_scan(source)
    return Scanned(table, names, images, detector, data)  # type: ignore[arg-type]


def plain(column: Any) -> list[Any]:
    """Cells as Python values, None for a missing one."""
    return [None if _gone(cell) else cell for cell in column.tolist()]


def record(row: Mapping[Any, Any], columns: Iterable[str]) -> dict[str, Any]:
    """Cells of a row as JSON values, without missing ones."""
    return {name: row[name] for name in columns if not _gone(row[name])}


def image_file(scanned: Scanned, row: int, out: Path, taken: SafePaths) -> str | None:
    """The absolute path of an image; one that is embedded in a table is written below `out`.

    None where there is no image to read.

    Raises
    ------
    InputError
        If it would be written into the folder of the data.
    """
    images = scanned.images
    path = images.location(row)
    if path is not None and _is_text(path) and os.path.isfile(path):
        return path
    try:
        content = images.read_bytes(row)
    except UnreadableImageError:
        return None
    check_outside(out, scanned.data)
    target = out / taken.path(IMAGES, str(images.file_names[row]), ending=usual_ending(content))
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    return str(target.resolve())


def _gone(cell: Any) -> bool:
    return cell is None or cell is pd.NA or (isinstance(cell, float) and math.isnan(cell))


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
