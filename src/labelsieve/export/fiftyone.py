"""A scan as FiftyOne's image classification data set in JSON.

The form is documented as `FiftyOneImageClassificationDataset`: ``data.json`` maps a name for each
image to its path, ``labels.json`` holds the classes and, by the same names, the class index, a
confidence and attributes.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ..core.serialization import write_json
from ..sieve.safe_paths import SafePaths
from .scanned import DECIDED, image_file, read_scanned, record

log = logging.getLogger(__name__)
ATTRIBUTES = (
    *("file_name", "is_label_issue", "label_score", "p_clean", "suggested_label", "action"),
    *("predicted_label", "detector", *DECIDED),
)


def export_fiftyone(source: Path, out: Path) -> list[Path]:
    """Write ``data.json``, ``labels.json`` (given labels) and ``predicted.json``.

    The issue columns are attributes of the given label; the id of the row is `labelsieve_id`,
    since FiftyOne has its own `id`. Rows without an image to read are left out.

    Parameters
    ----------
    source : Path
        Folder of a scan.
    out : Path
        Folder; ``fiftyone.Dataset.from_dir`` reads it.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        If `source` is no finished scan, or its images are gone.
    """
    scanned = read_scanned(source)
    out.mkdir(parents=True, exist_ok=True)
    given, predicted = (scanned.class_index(name) for name in ("given_label", "predicted_label"))
    files: dict[str, str] = {}
    labels: dict[str, Any] = {}
    predictions: dict[str, Any] = {}
    taken = SafePaths()
    for row, cells in enumerate(scanned.table.to_dict("records")):
        path = image_file(scanned, row, out, taken)
        if path is None:
            continue
        name = f"{row:08d}"
        files[name] = path
        attributes = {"labelsieve_id": cells["id"]} | record(cells, ATTRIBUTES)
        labels[name] = _target(given[row], cells["p_given"], attributes)
        predictions[name] = _target(predicted[row], cells["p_predicted"], {})
    if len(files) < len(scanned.table):
        log.warning("%d rows have no image file and are left out", len(scanned.table) - len(files))
    classes = list(scanned.class_names)
    write_json(out / "data.json", files)
    write_json(out / "labels.json", {"classes": classes, "labels": labels})
    write_json(out / "predicted.json", {"classes": classes, "labels": predictions})
    return [out / name for name in ("data.json", "labels.json", "predicted.json")]


def _target(label: int | None, confidence: float, attributes: dict[str, Any]) -> Any:
    """A label with confidence and attributes; None is an unlabeled image."""
    if label is None:
        return None
    numbers = record({"confidence": confidence}, ("confidence",))
    return {"label": label, **numbers, **({"attributes": attributes} if attributes else {})}
