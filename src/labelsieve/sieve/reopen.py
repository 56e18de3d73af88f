"""The images of a finished scan, found again through its record."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

from ..core.exceptions import InputError, LabelSieveError
from ..core.serialization import read_json
from ..data import LabeledImages, load_images
from ..detectors.issues import read_issues


def data_of_scan(folder: Path) -> Path | None:
    """Where the scanned data lie on this machine, if they do."""
    name = read_json(folder / "run.json").get("data", {}).get("source")
    return Path(name) if name and Path(name).exists() else None


def check_outside(target: Path, data: Path | None) -> None:
    """Refuse to write images into the folder of the data, where they would be read as data.

    Raises
    ------
    InputError
        If `target` lies in `data`.
    """
    real = Path(os.path.realpath(target))
    if data is not None and data.is_dir() and real.is_relative_to(os.path.realpath(data)):
        raise InputError(
            f"{target} lies in the data set {data}, whose files are never changed; name a folder "
            "elsewhere with -o"
        )


def images_of_scan(folder: Path | str) -> tuple[LabeledImages | None, str | None]:
    """Load the images that a scan was made of.

    Parameters
    ----------
    folder : Path or str
        Output folder of a scan.

    Returns
    -------
    images : LabeledImages or None
        In the order of the issues; None when they are not where they were.
    problem : str or None
        Why there are none.

    Raises
    ------
    InputError
        If the folder holds no finished scan, or its issues cannot be read.
    """
    folder = Path(folder)
    if not (folder / "run.json").exists():
        raise InputError(
            f"{folder} holds no finished scan (no run.json); run "
            f"`labelsieve scan DATA -o {shlex.quote(str(folder))}`"
        )
    read = read_json(folder / "run.json").get("data", {})
    if not read.get("source"):
        return None, "run.json does not say where the images are"
    options = {k: read.get(k) for k in ("image_column", "label_column", "class_names", "split")}
    try:
        images = load_images(read["source"], **options)
    except LabelSieveError as error:
        return None, f"the images cannot be found again ({error})"
    ids = read_issues(folder / "issues.parquet", ["id"])["id"].astype(object)
    if list(images.ids) != list(ids):
        return None, f"{read['source']} has changed since the scan"
    return images, None
