"""Read the files that `labelsieve scan` leaves in its output folder."""

from __future__ import annotations

import csv
import math
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ..core.exceptions import InputError, gather
from ..core.serialization import read_json
from ..core.validation import FloatArray
from .counts import Counts, read_pieces

FILES = ("issues.parquet", "summary.json", "noise_matrix.csv", "classes.json", "run.json")
REQUIRED = ("id", "file_name", "given_label", "is_label_issue", "label_score")
OPTIONAL = (
    "predicted_label",
    "suggested_label",
    "action",
    "p_clean",
    "p_given",
    "p_predicted",
    "detector",
    "error",
)
MOST_ROWS = 200_000
"""Rows of a table that are held in memory whole."""
PIECE_ROWS = 100_000


@dataclass(frozen=True)
class ScanResult:
    """What a scan found.

    Attributes
    ----------
    folder : pathlib.Path
        Where it was read from.
    issues : pandas.DataFrame
        One row per input image, index 0..N-1; texts are `str` or None, numbers are floats. Of more
        than `MOST_ROWS` rows only those that a report shows.
    counts : Counts
        Of all rows.
    summary, run : dict
        `summary.json` and `run.json`.
    classes : list of str
        The K class names, in their order.
    noise_matrix : ndarray, shape (K, K)
        Estimated P(given label | true class), rows are true classes.
    """

    folder: Path
    issues: pd.DataFrame
    counts: Counts
    summary: dict[str, Any]
    classes: list[str]
    noise_matrix: FloatArray
    run: dict[str, Any]


def read_scan(folder: Path) -> ScanResult:
    """Read and check the output folder of a scan.

    Raises
    ------
    InputError
        If files are missing or damaged; the message names them.
    """
    if not folder.is_dir():
        raise InputError(
            f"{folder} is not a folder; run "
            f"`labelsieve scan DATA -o {shlex.quote(str(folder))}` to make it"
        )
    missing = [name for name in FILES if not (folder / name).is_file()]
    if missing:
        raise InputError(
            f"{folder} is not the output of a finished scan, it has no {', '.join(missing)}; "
            f"run `labelsieve scan DATA -o {shlex.quote(str(folder))}` first"
        )
    counts, issues = _read_issues(folder / "issues.parquet")
    classes = [str(name) for name in _read_kind(folder / "classes.json", list)]
    return ScanResult(
        folder=folder,
        issues=issues,
        counts=counts,
        summary=_read_kind(folder / "summary.json", dict),
        classes=classes,
        noise_matrix=_read_matrix(folder / "noise_matrix.csv", len(classes)),
        run=_read_kind(folder / "run.json", dict),
    )


def is_number(value: Any) -> TypeGuard[float]:
    """Whether a value from a JSON file is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _read_kind(path: Path, kind: type) -> Any:
    value = read_json(path)
    if not isinstance(value, kind):
        expected = "an object" if kind is dict else "a list"
        raise InputError(f"{path} must hold {expected}; run `labelsieve scan` again")
    return value


def _read_issues(path: Path) -> tuple[Counts, pd.DataFrame]:
    try:
        return read_pieces(_pieces(path), MOST_ROWS)
    except InputError:
        raise
    except (OSError, ValueError, pa.ArrowException) as error:
        raise InputError(
            f"cannot read {path} as parquet: {error}; run `labelsieve scan` again"
        ) from error


def _pieces(path: Path) -> Iterator[pd.DataFrame]:
    """Slices of the table, at least one, with columns of the stated kinds."""
    with pq.ParquetFile(path) as file:
        names = file.schema_arrow.names
        gather(
            [f"column {name!r} is missing" for name in REQUIRED if name not in names],
            what=str(path),
        )
        wanted = [name for name in (*REQUIRED, *OPTIONAL) if name in names]
        empty = file.schema_arrow.empty_table().select(wanted)
        batches = file.iter_batches(PIECE_ROWS, columns=wanted)
        start = 0
        for batch in batches if file.metadata.num_rows else [empty]:
            columns: dict[str, Any] = {}
            for name in (*REQUIRED, *OPTIONAL):
                values = batch[name].to_pylist() if name in wanted else [None] * len(batch)
                columns[name] = _typed(values, name)
            yield pd.DataFrame(columns).set_axis(pd.RangeIndex(start, start + len(batch)))
            start += len(batch)


def _typed(values: list[Any], name: str) -> Any:
    """One column as booleans, floats or texts; missing values become False, NaN and None."""
    absent = pd.isna(np.array(values, dtype=object))
    if name == "is_label_issue":
        return np.array(
            [not gone and bool(v) for v, gone in zip(values, absent, strict=True)], bool
        )
    if name == "label_score" or name.startswith("p_"):
        numbers = [math.nan if gone else v for v, gone in zip(values, absent, strict=True)]
        return np.array(numbers, dtype=float)
    texts = [None if gone else str(v) for v, gone in zip(values, absent, strict=True)]
    return pd.Series(texts, dtype=object)


def _read_matrix(path: Path, n_classes: int) -> FloatArray:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = [row[1:] for row in csv.reader(file) if row]
        matrix = np.array([[float(cell) for cell in row] for row in rows[1:]], dtype=float)
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"cannot read {path} as a table of numbers: {error}; run `labelsieve scan` again"
        ) from error
    if matrix.shape != (n_classes, n_classes):
        raise InputError(
            f"{path} has shape {matrix.shape}, but classes.json names {n_classes} classes; "
            "run `labelsieve scan` again"
        )
    return matrix
