"""Noise matrices P(noisy label | label before): checked, read from CSV and written as CSV."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from ..core.exceptions import InputError, gather
from ..core.validation import IntArray
from .class_names import clean_name

TOLERANCE = 1e-6
"""How far from 1 the sum of a row may be."""

Matrix = npt.NDArray[np.float64]


def check_noise_matrix(matrix: Any, n_classes: int) -> Matrix:
    """A noise matrix as float64, shape (K, K).

    Parameters
    ----------
    matrix : array, shape (K, K)
        Rows are labels before, columns noisy labels, in class order. Entries are at least 0 and
        each row sums to 1 within `TOLERANCE`.
    n_classes : int
        K.

    Raises
    ------
    InputError
        If the shape or values are off; all problems in one message.
    """
    try:
        array = np.array(matrix, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"noise matrix: not an array of numbers: {error}") from error
    if array.shape != (n_classes, n_classes):
        raise InputError(
            f"noise matrix: expected shape ({n_classes}, {n_classes}), a row and a column for "
            f"each of the {n_classes} classes, but got {array.shape}"
        )
    problems = []
    if not np.isfinite(array).all():
        problems.append(f"NaN or infinite values in {_rows(~np.isfinite(array).all(axis=1))}")
    if (array < 0).any():
        problems.append(f"negative values in {_rows((array < 0).any(axis=1))}; give probabilities")
    sums = array.sum(axis=1)
    off = np.abs(sums - 1) > TOLERANCE  # false for NaN, which is a problem above
    if off.any():
        first = int(off.argmax())
        problems.append(
            f"each row must sum to 1 within {TOLERANCE:g}, unlike {_rows(off)} (row {first} sums "
            f"to {sums[first]:.8g}); divide each row by its sum"
        )
    gather(problems, what="noise matrix")
    return array


def read_noise_matrix(path: str | os.PathLike[str], class_names: Any) -> Matrix:
    """Read a noise matrix from a CSV file; `noise_matrix.csv` of a scan is one.

    A first row and a first column of class names are recognised by the size of the table and may
    be in any order. Without them, rows and columns are in class order.

    Parameters
    ----------
    path : path
        Separated by "," or ";".
    class_names : sequence of str, length K

    Returns
    -------
    ndarray, shape (K, K)
        In the order of `class_names`; see `check_noise_matrix`.

    Raises
    ------
    InputError
        If the file cannot be read, names do not match, or the values are no noise matrix.
    """
    file, names = Path(path).expanduser(), [clean_name(str(name)) for name in class_names]
    table = _read_cells(file)
    size = len(names)
    body = table[-size:] if len(table) == size + 1 else table
    widths = sorted({len(row) for row in body})
    if len(body) != size or widths not in ([size], [size + 1]):
        raise InputError(
            f"{file}: expected {size} rows of {size} numbers, one for each class, besides a row "
            f"and a column of class names; found {len(table)} rows with "
            f"{' or '.join(map(str, widths)) or 'no'} cells"
        )
    header = table[0][-size:] if len(table) == size + 1 else names
    index = [row[0] for row in body] if widths == [size + 1] else names
    problems: list[str] = []
    rows = _positions(index, names, "rows", problems)
    columns = _positions(header, names, "columns", problems)
    values = _numbers([row[-size:] for row in body], problems)
    gather(problems, what=str(file))
    return check_noise_matrix(values[np.ix_(rows, columns)], size)


def write_noise_matrix(path: Path, matrix: Matrix, class_names: Any) -> None:
    """Write a noise matrix with class names as header and index, as `read_noise_matrix` takes it.

    Parameters
    ----------
    path : Path
    matrix : ndarray, shape (K, K)
    class_names : sequence of str, length K
    """
    names = list(class_names)
    pd.DataFrame(matrix, index=names, columns=names).to_csv(path, encoding="utf-8")


def _rows(mask: Any) -> str:
    """Rows by number, the first few of them."""
    numbers = np.flatnonzero(mask)
    more = f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    return f"row{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers[:5]))}{more}"


def _read_cells(path: Path) -> list[list[str]]:
    """The cells of all rows that are not empty."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            separator = ";" if ";" in first and "," not in first else ","
            return [row for row in csv.reader(file, delimiter=separator) if any(row)]
    except FileNotFoundError as error:
        raise InputError(
            f"noise matrix: there is no file {str(path)!r}; give a CSV file with a row and a "
            "column for each class"
        ) from error
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"noise matrix: cannot read {path} as CSV: {error}") from error


def _positions(header: list[str], names: list[str], what: str, problems: list[str]) -> IntArray:
    """Where each class is in a header, shape (K,)."""
    found = [clean_name(name) for name in header]
    if sorted(found) != sorted(names):
        absent = [name for name in names if name not in found][:5]
        unknown = [name for name in found if name not in names][:5]
        problems.append(
            f"the names of the {what} are not the classes, each once: lacking {absent}, unknown "
            f"{unknown}; correct them or leave them out"
        )
        return np.arange(len(names))
    place = {name: position for position, name in enumerate(found)}
    return np.array([place[name] for name in names])


def _numbers(rows: list[list[str]], problems: list[str]) -> Matrix:
    """Cells as numbers, NaN where there is none."""
    values, bad = np.full((len(rows), len(rows)), np.nan), []
    for i, row in enumerate(rows):
        for j, cell in enumerate(row):
            try:
                values[i, j] = float(cell)
            except ValueError:
                bad.append(cell)
    if bad:
        problems.append(f"{len(bad)} cells hold no number: {bad[:5]}")
    return values
