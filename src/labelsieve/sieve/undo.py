"""A corrected data set with its log applied backwards."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..core.exceptions import InputError, LabelSieveError
from ..core.serialization import read_json, write_json
from ..core.validation import check_choice
from ..core.version import __version__
from ..data import LabeledImages, load_images
from .apply import Applied, free_folder, names_of, staged
from .changes import CHANGES, RECORD, read_changes, undo_changes
from .corrected import WRITERS


def undo(corrected: Path | str, out: Path | str, *, how: str | None = None) -> Applied:
    """Write the data set as it was before `apply`, from what `apply` wrote.

    Relabeled rows get their label back, from the log and not from the original data. Dropped rows
    come back with their label; their images are read where `apply` found them, since nothing was
    moved. Rows stand in the order of the original data where these are still there.

    Parameters
    ----------
    corrected : Path or str
        Folder that `apply` wrote.
    out : Path or str
        New or empty folder.
    how : str, optional
        As for `apply`; left out, as it was applied.

    Raises
    ------
    InputError
        If the folder is of something else, was edited since, or dropped images are gone.
    """
    corrected = Path(corrected)
    if not (corrected / CHANGES).is_file() or not (corrected / RECORD).is_file():
        raise InputError(
            f"{corrected} holds no {CHANGES} and {RECORD}; --undo takes a folder that `labelsieve "
            "apply` wrote"
        )
    target = free_folder(out, corrected)
    changes, record = read_changes(corrected / CHANGES), read_json(corrected / RECORD)
    how = how or str(record.get("how"))
    check_choice(how, WRITERS, name="how")
    source = record.get("data", {}).get("source")
    if source and Path(source).is_dir():
        free_folder(out, Path(source))
    now = load_images(corrected)
    labels = undo_changes(dict(zip(now.ids, names_of(now, now.given_labels), strict=True)), changes)
    images = _all_rows(now, record.get("data", {}), set(labels))
    position = {name: k for k, name in enumerate(images.class_names)}
    given = [-1 if labels[i] is None else position[str(labels[i])] for i in images.ids]
    restored = images.with_labels(np.array(given, dtype=np.int64))
    with staged(target) as stage:
        WRITERS[how](restored, names_of(restored, restored.given_labels), stage)
        undone = {"labelsieve": __version__, "undone": str(corrected.resolve()), "how": how}
        write_json(stage / "undo.json", undone | {"n_changed": len(changes)})
    return Applied(target, len(restored), changes, [], ())


def _all_rows(now: LabeledImages, data: dict[str, Any], ids: set[str]) -> LabeledImages:
    """The images of all ids: the original data, or the corrected ones where nothing was dropped."""
    if set(now.ids) == ids:
        return now
    names = ("image_column", "label_column", "class_names", "split")
    options: dict[str, Any] = {name: data.get(name) for name in names}
    missing = len(ids - set(now.ids))
    try:
        original = load_images(data.get("source") or "", **options)
    except LabelSieveError as error:
        raise InputError(
            f"{missing} dropped images cannot be brought back, the original data are gone: {error}"
        ) from error
    rows = [row for row, name in enumerate(original.ids) if name in ids]
    if len(rows) != len(ids):
        raise InputError(
            f"{len(ids) - len(rows)} images are no longer in {data.get('source')}, so that the "
            "data set cannot be brought back whole"
        )
    return original.subset(rows)
