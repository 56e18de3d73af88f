"""The flagged rows that the page holds, as compact columns for its script."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from .counts import MAX_ROWS, MAX_UNREADABLE, rows_where, unreadable_mask
from .scan_folder import ScanResult
from .thumbnails import ImageSource

MAX_TEXT_BYTES = 2_500_000  # long file names must not make the page heavy
MAX_ERROR_LENGTH = 300


def all_names(scan: ScanResult) -> list[str]:
    """Class names in their order, then any other label that occurs in the table."""
    names = dict.fromkeys(scan.classes)
    for found in (scan.counts.given, scan.counts.predicted, scan.counts.suggested):
        names.update(dict.fromkeys(found))
    return list(names)


def gallery_payload(
    scan: ScanResult, flagged: pd.DataFrame, images: ImageSource | None
) -> dict[str, Any]:
    """Columns of the worst flagged rows, limited in number and in bytes of text.

    Parameters
    ----------
    scan : ScanResult
        The whole scan, for the class names.
    flagged : pandas.DataFrame
        From `flagged_rows`.
    images : ImageSource or None
        Names the location of rows without a file name.

    Returns
    -------
    dict
        Equally long lists by column; labels are indices into ``names`` (-1 for none), and an
        ``id`` of None means that it equals the file name.
    """
    names = all_names(scan)
    index = {name: position for position, name in enumerate(names)}
    rows = flagged.iloc[: _fitting(flagged)]
    files = [
        _file(row, name, images) for row, name in zip(rows.index, rows["file_name"], strict=True)
    ]
    ids = [
        None if identifier == file else identifier
        for identifier, file in zip(rows["id"], files, strict=True)
    ]
    payload: dict[str, Any] = {
        "names": names,
        "row": [int(row) for row in rows.index],
        "file": files,
        "id": ids,
        "action": rows["action"].tolist(),
        "detector": rows["detector"].tolist(),
    }
    for key in ("given", "predicted", "suggested"):
        payload[key] = [-1 if name is None else index[name] for name in rows[f"{key}_label"]]
    for key in ("label_score", "p_clean", "p_given", "p_predicted"):
        payload[key] = [_rounded(value) for value in rows[key]]
    return payload


def unreadable_files(scan: ScanResult, images: ImageSource | None) -> dict[str, Any]:
    """The first unreadable files with their errors, and how many there are."""
    shown = rows_where(scan.issues, unreadable_mask(scan.issues)).iloc[:MAX_UNREADABLE]
    files = [
        {"file": _file(row, name, images), "error": (error or "")[:MAX_ERROR_LENGTH]}
        for row, name, error in zip(shown.index, shown["file_name"], shown["error"], strict=True)
    ]
    return {"n": scan.counts.n_unreadable, "files": files}


def _fitting(flagged: pd.DataFrame) -> int:
    """How many of the first rows stay within the limits."""
    head = flagged.iloc[:MAX_ROWS]
    texts = zip(head["id"], head["file_name"], strict=True)
    sizes = [len(f"{a}{b}".encode("utf-8", "replace")) for a, b in texts]
    return int((np.cumsum(sizes) <= MAX_TEXT_BYTES).sum())


def _file(row: Any, name: str | None, images: ImageSource | None) -> str:
    if name:
        return name
    location = None if images is None else images.location(int(row))
    return f"row {row}" if location is None else str(location)


def _rounded(value: float) -> float | None:
    return round(float(value), 4) if np.isfinite(value) else None
