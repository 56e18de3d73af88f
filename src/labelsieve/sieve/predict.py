"""Predictions of a saved classifier, written as a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from ..core.exceptions import InputError
from ..core.serialization import atomic_path
from ..core.text import counted
from ..data import load_images
from ..data.load import would_be_data
from ..tuners import load_tuner


def predict_file(
    model: Path | str,
    data: str,
    out: Path | str,
    *,
    backbone: str | None = None,
    image_column: str | None = None,
    label_column: str | None = None,
    split: str | None = None,
    device: str = "auto",
    offline: bool = False,
    force: bool = False,
) -> tuple[int, int]:
    """Write id, file_name, predicted_label and p_predicted, one row an image in input order.

    Parameters
    ----------
    model : Path or str
        Folder of a saved classifier, or of a scan.
    data : str
        Anything that `load_images` reads; labels are not used.
    out : Path or str
        Parquet file.
    backbone, device, offline
        See `load_tuner`.
    image_column, label_column, split
        See `load_images`.
    force : bool
        Replace an existing file.

    Returns
    -------
    tuple of int
        Number of rows, and of those that cannot be read.

    Raises
    ------
    InputError
        If the output exists, the input cannot be used, or none of the images can be read.
    """
    out = Path(out)
    if out.suffix != ".parquet":
        raise InputError(f"the output must be a .parquet file, not {out}")
    if out.exists() and not force:
        raise InputError(f"{out} exists; add --force to replace it")
    if would_be_data(out, data):
        raise InputError(
            f"{out} lies among the images of {data}, where it would be read as the table of them; "
            "name a file elsewhere with -o"
        )
    tuner = load_tuner(model, backbone=backbone, device=device, offline=offline)
    images = load_images(
        data,
        image_column=image_column,
        label_column=label_column,
        class_names=list(tuner.class_names_),
        split=split,
        offline=offline,
        labels=False,
    )
    p = tuner.predict_proba(images)
    readable = ~np.isnan(p[:, 0])
    if not readable.any():
        raise InputError(
            f"none of the {counted(len(images), 'image')} in {data} can be read; look whether the "
            "files are there and open as images"
        )
    names = np.array([*tuner.class_names_, None], dtype=object)
    predicted = np.where(readable, np.nan_to_num(p).argmax(axis=1), -1)
    table = pd.DataFrame(
        {
            "id": images.ids,
            "file_name": images.file_names,
            "predicted_label": names[predicted],
            "p_predicted": np.where(readable, np.nan_to_num(p).max(axis=1), np.nan),
        }
    )
    with atomic_path(out) as partial:
        table.to_parquet(partial, index=False)
    return len(table), int((~readable).sum())
