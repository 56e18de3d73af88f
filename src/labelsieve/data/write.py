"""Writing labelled images with injected noise as a folder that `load_images` reads back."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..core.exceptions import InputError, UnreadableImageError
from ..core.progress import progress
from ..core.serialization import atomic_folder
from .class_names import CLASSES_FILE
from .few_shot_noise import few_shot_noisy
from .images import LabeledImages
from .noise import NoisyLabels, inject_noise
from .noise_matrix import write_noise_matrix

METADATA_FILE = "metadata.parquet"
MATRIX_FILE = "noise_matrix.csv"
NOISE_FILE = "noise.json"
GROUP_ROWS = 1000
GROUP_BYTES = 64 * 2**20
_TEXT = {"dtype": "string", "_type": "Value"}
_FEATURES = {
    "id": _TEXT,
    "file_name": _TEXT,
    "image": {"_type": "Image"},
    "label": _TEXT,
    "label_before_noise": _TEXT,
}
_SCHEMA = pa.schema(
    [
        ("id", pa.string()),
        ("file_name", pa.string()),
        ("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
        ("label", pa.string()),
        ("label_before_noise", pa.string()),
    ],
    metadata={"huggingface": json.dumps({"info": {"features": _FEATURES}})},
)


def write_noisy(
    images: LabeledImages,
    out: str | os.PathLike[str],
    *,
    kind: str,
    rate: float | None = None,
    matrix: Any = None,
    normalize: bool = False,
    random_state: int,
    force: bool = False,
) -> NoisyLabels:
    """Inject label noise and write the result as a new folder; the images' folder is untouched.

    The folder holds ``metadata.parquet`` (id, file_name, image, label, label_before_noise),
    ``classes.json`` (class order), ``noise.json`` (kind, rates, seed, counts) and
    ``noise_matrix.csv`` (expected P(noisy label = column | label before = row)). Image files
    are referred to by absolute path, embedded images are copied. The folder appears whole or not
    at all.

    Parameters
    ----------
    images : LabeledImages
    out : path
        The new folder.
    kind, rate, matrix, normalize
        See `inject_noise`.
    random_state : int
        The seed; it is written down.
    force : bool
        Replace `out` if it is a folder that this function wrote.

    Returns
    -------
    NoisyLabels

    Raises
    ------
    InputError
        If `out` is in the way, or an argument is out of range.
    """
    target = Path(os.path.abspath(Path(out).expanduser()))
    _check_target(target, force)
    noisy = inject_noise(
        images.given_labels,
        len(images.class_names),
        kind=kind,
        rate=rate,
        matrix=matrix,
        images=images,
        normalize=normalize,
        random_state=random_state,
    )
    _write_folder(
        images, noisy, target, {"normalize": normalize, "random_state": int(random_state)}
    )
    return noisy


def write_few_shot_noisy(
    images: LabeledImages,
    out: str | os.PathLike[str],
    *,
    shots: int = 16,
    n_wrong: int = 4,
    confusions: Any = None,
    random_state: int,
    force: bool = False,
) -> NoisyLabels:
    """Draw a few-shot set with wrong labels and write it as a folder, like `write_noisy`.

    Only the chosen rows are written.

    Parameters
    ----------
    images : LabeledImages
    out : path
        The new folder.
    shots, n_wrong, confusions
        See `few_shot_noisy`; with confusions the wrong labels follow them.
    random_state : int
        The seed; it is written down.
    force : bool
        Replace `out` if it is a folder that was written here.

    Returns
    -------
    NoisyLabels
        Of the chosen rows; the noise matrix is the realised one.

    Raises
    ------
    InputError
        If `out` is in the way, or an argument is out of range.
    """
    target = Path(os.path.abspath(Path(out).expanduser()))
    _check_target(target, force)
    kind, n_classes = "symmetric" if confusions is None else "confusion", len(images.class_names)
    drawn = few_shot_noisy(
        images.given_labels,
        shots,
        n_wrong,
        kind=kind,
        confusions=confusions,
        n_classes=n_classes,
        random_state=random_state,
    )
    chosen = images.subset(drawn.rows)
    noisy = drawn.noisy_labels(chosen.given_labels, n_classes, rate=n_wrong / shots)
    settings = {"shots": shots, "n_wrong": n_wrong, "wrong_labels": kind}
    _write_folder(chosen, noisy, target, settings | {"random_state": int(random_state)})
    return noisy


def _write_folder(
    images: LabeledImages, noisy: NoisyLabels, target: Path, settings: dict[str, Any]
) -> None:
    with atomic_folder(target, replace=True) as folder:
        _write_table(images, noisy, folder / METADATA_FILE)
        _write_json(folder / CLASSES_FILE, list(images.class_names))
        write_noise_matrix(folder / MATRIX_FILE, noisy.transition, images.class_names)
        _write_json(folder / NOISE_FILE, _summary(images, noisy, settings))


def _check_target(target: Path, force: bool) -> None:
    if not target.exists() or (target.is_dir() and not any(target.iterdir())):
        return
    if not target.is_dir():
        raise InputError(f"{target} is a file; give a new folder")
    if not force:
        raise InputError(f"{target} exists and is not empty; give a new folder or use --force")
    if not (target / NOISE_FILE).is_file():
        raise InputError(
            f"{target} has no {NOISE_FILE}, so it was not written here and is not replaced, even "
            "with --force; give a new folder"
        )


def _write_table(images: LabeledImages, noisy: NoisyLabels, path: Path) -> None:
    """Stream the rows in row groups of bounded size."""
    with pq.ParquetWriter(path, _SCHEMA) as writer:
        rows: list[dict[str, Any]] = []
        size = 0
        for i in progress(range(len(images)), desc="writing", unit="image"):
            image = _image_cell(images, i)
            rows.append(
                {
                    "id": images.ids[i],
                    "file_name": images.file_names[i],
                    "image": image,
                    "label": _name(images, int(noisy.labels[i])),
                    "label_before_noise": _name(images, int(images.given_labels[i])),
                }
            )
            size += len(image["bytes"] or b"")
            if len(rows) == GROUP_ROWS or size >= GROUP_BYTES:
                writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))
                rows, size = [], 0
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, schema=_SCHEMA))


def _image_cell(images: LabeledImages, i: int) -> dict[str, Any]:
    """``{bytes, path}``: the absolute path of a file, else the bytes and the name."""
    try:
        path = images.location(i)
        if path is not None and _is_text(path):
            return {"bytes": None, "path": path}
        return {"bytes": images.read_bytes(i), "path": images.file_names[i]}
    except UnreadableImageError:
        return {"bytes": None, "path": None}


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(images: LabeledImages, label: int) -> str | None:
    return images.class_names[label] if label >= 0 else None


def _summary(images: LabeledImages, noisy: NoisyLabels, settings: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": noisy.kind,
        "rate": noisy.rate,
        "expected_rate": noisy.expected_rate,
        "realised_rate": noisy.realised_rate,
        **settings,
        "n_rows": len(images),
        "n_labeled": int(images.labeled.sum()),
        "n_changed": int((noisy.labels != images.given_labels).sum()),
        "notes": list(noisy.notes),
    }


def _write_json(path: Path, value: Any) -> None:
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
