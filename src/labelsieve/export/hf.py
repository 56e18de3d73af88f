"""A scan as a Hugging Face data set with the issue columns."""

from __future__ import annotations

import shutil
from pathlib import Path

import pyarrow as pa

from ..core.exceptions import InputError
from ..sieve.corrected import embedded, import_datasets, save_dataset
from .scanned import DECIDED, plain, read_scanned

TEXTS = ("predicted_label", "suggested_label", "action", "detector", "error", *DECIDED)
NUMBERS = ("label_score", "p_clean", "p_given", "p_predicted")


def export_hf(source: Path, out: Path) -> list[Path]:
    """Write images, given labels and issue columns with `datasets.Dataset.save_to_disk`.

    Parameters
    ----------
    source : Path
        Folder of a scan.
    out : Path
        Folder; `load_images` and `datasets.load_from_disk` read it. The images are in it, and pass
        through memory.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        If `source` is no finished scan, or its images are gone.
    MissingExtraError
        If `datasets` is not installed.
    """
    datasets = import_datasets()
    scanned = read_scanned(source)
    table, images = scanned.table, scanned.images
    features = datasets.Features(
        {
            "image": datasets.Image(),
            "label": datasets.ClassLabel(names=list(scanned.class_names)),
            "id": datasets.Value("string"),
            "file_name": datasets.Value("string"),
            "is_label_issue": datasets.Value("bool"),
            **{name: datasets.Value("float64") for name in NUMBERS},
            **{name: datasets.Value("string") for name in TEXTS},
        }
    )
    columns = {name: plain(table[name]) for name in features if name not in ("image", "label")}
    # What the scan could not read has no prediction; it would end every loop over the data set.
    readable = table["predicted_label"].notna().tolist()
    columns["image"] = [
        embedded(images, row) if good else None for row, good in enumerate(readable)
    ]
    columns["label"] = [-1 if k is None else k for k in scanned.class_index("given_label")]
    schema = features.arrow_schema
    built = pa.Table.from_pydict({name: columns[name] for name in schema.names}, schema=schema)
    stage = out.with_name(f".{out.name}.partial")
    shutil.rmtree(stage, ignore_errors=True)
    try:
        save_dataset(built, stage)
        out.mkdir(parents=True, exist_ok=True)
        for item in sorted(stage.iterdir()):
            item.replace(out / item.name)
    except OSError as error:
        raise InputError(f"cannot write {out}: {error}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
    return sorted(path for path in out.iterdir() if path.is_file())
