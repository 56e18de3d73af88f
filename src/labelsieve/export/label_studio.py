"""A scan as a Label Studio project: tasks with pre-annotations, and the labelling configuration.

What Label Studio exports as JSON or JSON-MIN is read back by `sieve.decision_files`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from urllib.parse import quote
from xml.etree import ElementTree

from ..core.exceptions import InputError
from ..core.serialization import write_json, write_text
from ..core.validation import check_choice
from ..core.version import __version__
from ..sieve.decision_files import DECISION_CONTROL, LABEL_CONTROL, TASK_GIVEN, TASK_ID
from ..sieve.safe_paths import SafePaths
from .scanned import image_file, read_scanned, record

IMAGE = "image"
LOCAL_FILES = "/data/local-files/?d="
SHOWN = ("file_name", "suggested_label", "label_score", "p_clean", "action")


def export_label_studio(
    source: Path,
    out: Path,
    *,
    rows: str = "issues",
    root: str = "/",
    prefix: str = LOCAL_FILES,
) -> list[Path]:
    """Write ``tasks.json`` and ``config.xml``.

    Parameters
    ----------
    source : Path
        Folder of a scan.
    out : Path
        Folder.
    rows : str
        "issues" (label issues and rows to review, worst first) or "all".
    root : str
        Folder that Label Studio serves files from (its LOCAL_FILES_DOCUMENT_ROOT), or that is
        reachable below `prefix`; paths are written relative to it.
    prefix : str
        What stands before the path in an image's address.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        If `source` is no finished scan, its images are gone, or lie outside `root`.
    """
    check_choice(rows, ("issues", "all"), name="rows")
    scanned = read_scanned(source)
    table = scanned.table.sort_values("label_score", kind="stable")
    if rows == "issues":
        table = table.loc[table["is_label_issue"] | (table["action"] == "review")]
    out.mkdir(parents=True, exist_ok=True)
    tasks, taken = [], SafePaths()
    for row, cells in zip(table.index.tolist(), table.to_dict("records"), strict=True):
        path = image_file(scanned, row, out, taken)
        if path is not None:
            tasks.append(_task(cells, _address(path, root, prefix), scanned.detector))
    write_json(out / "tasks.json", tasks)
    write_text(out / "config.xml", labeling_config(scanned.class_names))
    return [out / "tasks.json", out / "config.xml"]


def labeling_config(class_names: tuple[str, ...]) -> str:
    """The labelling configuration: one choice of class, or "drop" or "unsure".

    Examples
    --------
    >>> '<Choice value="cat" />' in labeling_config(("cat", "dog"))
    True
    """
    view = ElementTree.Element("View")
    header = f"Given label: ${TASK_GIVEN}"
    ElementTree.SubElement(view, "Header", {"value": header})
    ElementTree.SubElement(view, "Image", {"name": IMAGE, "value": f"${IMAGE}"})
    controls = ((LABEL_CONTROL, class_names), (DECISION_CONTROL, ("drop", "unsure")))
    for name, values in controls:
        settings = {"name": name, "toName": IMAGE, "choice": "single", "showInline": "true"}
        choices = ElementTree.SubElement(view, "Choices", settings)
        for value in values:
            ElementTree.SubElement(choices, "Choice", {"value": value})
    ElementTree.indent(view)
    return ElementTree.tostring(view, encoding="unicode") + "\n"


def _task(cells: dict[str, Any], address: str, detector: str) -> dict[str, Any]:
    """A task; the suggested label, or else the predicted one, is its pre-annotation."""
    data = {IMAGE: address, TASK_ID: cells["id"], **record(cells, SHOWN)}
    data[TASK_GIVEN] = record(cells, ("given_label",)).get("given_label", "")
    label = record(cells, ("suggested_label",)).get("suggested_label")
    predicted = record(cells, ("predicted_label",)).get("predicted_label")
    label = label or (None if cells["is_label_issue"] else predicted)
    if label is None:  # no class fits, or there is no prediction
        return {"data": data, "predictions": []}
    result = {
        "id": "label",
        "from_name": LABEL_CONTROL,
        "to_name": IMAGE,
        "type": "choices",
        "value": {"choices": [label]},
    }
    prediction = {"model_version": f"labelsieve {__version__} {detector}", "result": [result]}
    if label == predicted:  # the table has no probability of any other class
        prediction["score"] = float(cells["p_predicted"])
    return {"data": data, "predictions": [prediction]}


def _address(path: str, root: str, prefix: str) -> str:
    """The address of an image below the served folder."""
    relative = os.path.relpath(path, root)
    if relative.split(os.sep)[0] == os.pardir:
        raise InputError(
            f"the image {path} lies outside root={root!r}; give the folder that Label Studio "
            "serves files from (--param root=FOLDER)"
        )
    return prefix + quote(relative.replace(os.sep, "/"))
