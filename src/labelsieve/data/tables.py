"""Tables as text: CSV, TSV and JSON lines with an image and a label column."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np

from ..core.exceptions import InputError
from .class_names import read_classes_json
from .columns import choose_columns
from .listing import Listing, ReadOptions
from .sources import FileSource

SEPARATORS = {".csv": ",", ".tsv": "\t"}
JSON_LINES = (".jsonl", ".ndjson")
TABLES = (*SEPARATORS, *JSON_LINES, ".parquet", ".pq")


def read_text_table(path: Path, options: ReadOptions) -> Listing:
    """List a CSV, TSV or JSON-lines table.

    Image cells are paths, relative to the table's folder or absolute; the label column holds
    names or integers; a column `id`, if there is one, gives the ids.

    Raises
    ------
    InputError
        If the file cannot be parsed or a column is missing or ambiguous.
    """
    columns = _csv_columns(path) if path.suffix.lower() in SEPARATORS else _json_columns(path)
    names = list(columns)
    image, label = choose_columns(names, options, what=path.name)
    cells = _paths(columns[image], path.name, image)
    return Listing(
        file_names=[cell or f"row-{row:06d}" for row, cell in enumerate(cells)],
        labels=None if label is None else columns[label],
        source=FileSource(path.parent, cells),
        rule=table_rule(path.name, image, label),
        where=str(path),
        ids=columns.get("id") if "id" not in (image, label) else None,
        spec=read_classes_json(path.parent),
    )


def table_rule(name: str, image: str, label: str | None) -> str:
    """The reading rule of a table, in words."""
    labels = f"labels from column {label!r}" if label is not None else "no labels"
    return f"table {name}: images from column {image!r}, {labels}"


def _csv_columns(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """All cells as text: "007" and "NA" are names, an empty cell is missing."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            first = file.readline()
            file.seek(0)
            reader = csv.reader(file, delimiter=_separator(path, first))
            header = next(reader, None)
            if header is None:
                raise InputError(f"{path}: the table is empty; no header and no rows")
            rows = [_fit(row, len(header), path, reader.line_num) for row in reader if row]
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not UTF-8 ({error}); save it again as UTF-8") from error
    except (OSError, csv.Error) as error:
        raise InputError(f"cannot read {path} as a table: {error}") from error
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise InputError(f"{path}: these columns occur more than once: {repeated}; rename them")
    cells = np.array(rows, dtype=object).reshape(len(rows), len(header))
    return {name: cells[:, number] for number, name in enumerate(header)}


def _separator(path: Path, first: str) -> str:
    """The separator by the file's ending, or ";" as some spreadsheets write a CSV."""
    usual = SEPARATORS[path.suffix.lower()]
    return ";" if usual == "," and usual not in first and ";" in first else usual


def _fit(row: list[str], width: int, path: Path, line: int) -> list[str]:
    """A row with as many cells as the header; only empty cells may be too many."""
    if any(row[width:]):
        raise InputError(f"{path}, line {line}: {len(row)} cells, but the header has {width}")
    return (row + [""] * (width - len(row)))[:width]


def _json_columns(path: Path) -> dict[str, Any]:
    """Columns by key; a key that a row lacks is None there."""
    columns: dict[str, list[Any]] = {}
    n_rows = number = 0
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise InputError(f"{path}, line {number}: expected a JSON object")
                for key, value in row.items():
                    column = columns.setdefault(key, [])
                    column.extend([None] * (n_rows - len(column)))
                    column.append(value)
                n_rows += 1
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {number}: not JSON: {error}") from error
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    if not n_rows:
        raise InputError(f"{path}: the table is empty; no rows")
    return {key: _objects(column, n_rows) for key, column in columns.items()}


def _objects(values: list[Any], n_rows: int) -> np.ndarray[Any, Any]:
    """An object array, also of cells that are lists."""
    array = np.full(n_rows, None, dtype=object)
    for row, value in enumerate(values):
        array[row] = value
    return array


def _paths(cells: Any, table: str, column: str) -> list[str | None]:
    """Image cells as paths; None where there is none."""
    paths = [cell.get("path") if isinstance(cell, dict) else cell for cell in cells]
    bad = next((p for p in paths if p is not None and not isinstance(p, str)), None)
    if bad is not None:
        raise InputError(
            f"{table}: column {column!r} holds {bad!r}, which is no path of an image; name the "
            "image column with --image-column (image_column=...)"
        )
    return [path or None for path in paths]
