"""The forms in which a corrected data set is written; each is read again by `load_images`."""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from ..core.exceptions import InputError, MissingExtraError, UnreadableImageError
from ..core.progress import progress
from ..core.serialization import write_json
from ..data import LabeledImages
from ..data.class_names import CLASSES_FILE
from .safe_paths import SafePaths

BEFORE = "label_before"
COLUMNS = ("id", "file_name", "label", BEFORE)
GROUP_BYTES = 64 * 2**20
GROUP_ROWS = 1000
_TEXT = {"dtype": "string", "_type": "Value"}
_FEATURES = {"image": {"_type": "Image"}, **dict.fromkeys(COLUMNS, _TEXT)}
SCHEMA = pa.schema(
    [
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        *((name, pa.string()) for name in COLUMNS),
    ],
    metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}})},
)

Writer = Callable[[LabeledImages, Any, Path], None]


def write_metadata(images: LabeledImages, before: Any, folder: Path) -> None:
    """A table that names each image file where it is, by absolute path.

    Parameters
    ----------
    images : LabeledImages
        With the labels to write.
    before : sequence of str or None
        The labels that they had.
    folder : Path
        An empty folder.

    Raises
    ------
    InputError
        If images are embedded in a table, or a path is not valid Unicode.
    """
    paths = [_file(images, row, "metadata") for row in range(len(images))]
    _write_table(images, before, paths, folder)


def write_copies(images: LabeledImages, before: Any, folder: Path) -> None:
    """Class folders with copies of the images, and the table; see `write_metadata`."""
    paths, taken = [], SafePaths()
    for row in progress(range(len(images)), desc="copying", unit="image"):
        content = _content(images, row)
        if content is None and images.location(row) is None:
            paths.append("")
            continue
        ending = "" if content is None else usual_ending(content)
        label, name = _label(images, row), str(images.file_names[row])
        path = taken.path(label, name, before[row], ending=ending)
        if content is not None:
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(content)
        paths.append(path)
    _write_table(images, before, paths, folder)


def write_links(images: LabeledImages, before: Any, folder: Path) -> None:
    """Class folders with symbolic links to the image files, and the table."""
    paths, taken = [], SafePaths()
    for row in range(len(images)):
        name = taken.path(_label(images, row), str(images.file_names[row]), before[row])
        target = _file(images, row, "link", text=False)
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if target:
            try:
                os.symlink(target, folder / name)
            except OSError as error:
                raise InputError(
                    f"symbolic links cannot be made here ({error}); use --how copy"
                ) from error
        paths.append(name if target else "")
    _write_table(images, before, paths, folder)


def write_parquet(images: LabeledImages, before: Any, folder: Path) -> None:
    """One parquet table with the images in it, which the Hugging Face libraries read too."""
    with pq.ParquetWriter(folder / "metadata.parquet", SCHEMA) as writer:
        rows: list[dict[str, Any]] = []
        size = 0
        for row in _rows(images, before):
            rows.append(row)
            size += len(row["image"]["bytes"]) if row["image"] else 0
            if len(rows) == GROUP_ROWS or size >= GROUP_BYTES:
                writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
                rows, size = [], 0
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema=SCHEMA))
    write_json(folder / CLASSES_FILE, list(images.class_names))


def write_hf(images: LabeledImages, before: Any, folder: Path) -> None:
    """A data set of the `datasets` library, saved to disk, with the images in it.

    Raises
    ------
    MissingExtraError
        If `datasets` is not installed.
    """
    datasets = import_datasets()
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "id": datasets.Value("string"),
            "file_name": datasets.Value("string"),
            "label": datasets.ClassLabel(names=list(images.class_names)),
            BEFORE: datasets.Value("string"),
        }
    )
    schema = features.arrow_schema
    tables, rows = [], []
    for row, cells in enumerate(_rows(images, before)):
        rows.append(cells | {"label": int(images.given_labels[row])})
        if len(rows) == GROUP_ROWS:
            tables.append(pa.Table.from_pylist(rows, schema=schema))
            rows = []
    tables.append(pa.Table.from_pylist(rows, schema=schema))
    save_dataset(pa.concat_tables(tables), folder)


def save_dataset(table: pa.Table, folder: Path) -> None:
    """Save a table with Hugging Face's features in its schema as a data set, without a word."""
    datasets = import_datasets()
    quiet = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        datasets.Dataset(datasets.table.InMemoryTable(table)).save_to_disk(str(folder))
    finally:
        if not quiet:
            datasets.enable_progress_bars()


def import_datasets() -> Any:
    """The `datasets` library, or an error that names the extra."""
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError(
            "a Hugging Face data set needs the `datasets` library: "
            "pip install 'labelsieve[datasets]'"
        ) from error
    return datasets


def embedded(images: LabeledImages, row: int) -> dict[str, Any] | None:
    """``{bytes, path}`` of a row; None where there is no image to read."""
    content = _content(images, row)
    return None if content is None else {"bytes": content, "path": str(images.file_names[row])}


def _rows(images: LabeledImages, before: Any) -> Iterator[dict[str, Any]]:
    for row in progress(range(len(images)), desc="writing", unit="image"):
        yield {
            "image": embedded(images, row),
            "id": str(images.ids[row]),
            "file_name": str(images.file_names[row]),
            "label": _label(images, row),
            BEFORE: before[row],
        }


def _write_table(images: LabeledImages, before: Any, paths: list[str], folder: Path) -> None:
    """`metadata.csv` and `classes.json`, as readers of image folders know them."""
    with (folder / "metadata.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file_name", "label", BEFORE, "id"))
        for row, path in enumerate(paths):
            label = _label(images, row) or ""
            writer.writerow((path, label, before[row] or "", images.ids[row]))
    write_json(folder / CLASSES_FILE, list(images.class_names))


def _content(images: LabeledImages, row: int) -> bytes | None:
    """The encoded image of a row; None where there is none to read."""
    try:
        return images.read_bytes(row)
    except UnreadableImageError:
        return None


def _label(images: LabeledImages, row: int) -> str | None:
    label = int(images.given_labels[row])
    return images.class_names[label] if label >= 0 else None


def _file(images: LabeledImages, row: int, how: str, *, text: bool = True) -> str:
    """The absolute path of an image, "" where the row has none."""
    path = images.location(row)
    if path is None:
        if _content(images, row) is None:
            return ""
        raise InputError(
            f"--how {how} needs image files, but the image of {images.ids[row]!r} is inside a "
            "table; use --how copy, parquet or hf"
        )
    try:
        path.encode()
    except UnicodeEncodeError as error:
        if text:
            raise InputError(
                f"the path of {images.ids[row]!r} is not valid Unicode and cannot stand in a "
                "table; use --how copy, parquet or hf"
            ) from error
    return path


def usual_ending(content: bytes) -> str:
    """The usual ending of an image by its content."""
    try:
        with Image.open(io.BytesIO(content)) as image:
            kind = (image.format or "").lower()
    except Exception:
        return ".img"
    return {"jpeg": ".jpg", "tiff": ".tif", "": ".img"}.get(kind, f".{kind}")


WRITERS: dict[str, Writer] = {
    "metadata": write_metadata,
    "copy": write_copies,
    "link": write_links,
    "parquet": write_parquet,
    "hf": write_hf,
}
