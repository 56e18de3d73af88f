"""The issues of a scan as columns, so that 100,000 rows are filtered in milliseconds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.exceptions import InputError
from ..core.serialization import read_json
from ..core.validation import BoolArray, FloatArray, IntArray
from ..detectors import LabelIssues

PROPOSED = ("relabel", "drop", "review")
MAX_FILE = 300  # characters of a file name in a list; the page of one image has it all


@dataclass(frozen=True, eq=False)
class IssueTable:
    """N rows in input order; labels are indices into `names`, -1 for none.

    Attributes
    ----------
    ids, files, errors : list of str, length N
        Errors are "" where there is none.
    names : list of str
        The K classes in their order, then any other label that occurs.
    n_classes : int
        K.
    given, predicted, suggested : ndarray of int64, shape (N,)
        Labels.
    action : ndarray of str, shape (N,)
        What the scan proposes.
    is_issue : ndarray of bool, shape (N,)
        Whether the given label looks wrong.
    label_score, p_clean, p_given, p_predicted : ndarray of float, shape (N,)
        As in issues.parquet; NaN where there is none.
    detector : str
        Its name.
    """

    ids: list[str]
    files: list[str]
    errors: list[str]
    names: list[str]
    n_classes: int
    given: IntArray
    predicted: IntArray
    suggested: IntArray
    action: np.ndarray[Any, Any]
    is_issue: BoolArray
    label_score: FloatArray
    p_clean: FloatArray
    p_given: FloatArray
    p_predicted: FloatArray
    detector: str

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def is_flagged(self) -> BoolArray:
        """Rows for a person to look at, shape (N,): issues and those with a proposal."""
        return self.is_issue | np.isin(self.action, PROPOSED)

    def name(self, label: int) -> str | None:
        """The name of a label; None for -1."""
        return None if label < 0 else self.names[label]

    def entry(self, row: int) -> dict[str, Any]:
        """What a list shows of one row, ready for JSON."""
        file = self.files[row]
        return {
            "row": row,
            "file": file if len(file) <= MAX_FILE else file[:MAX_FILE] + "…",
            "given": int(self.given[row]),
            "predicted": int(self.predicted[row]),
            "suggested": int(self.suggested[row]),
            "action": str(self.action[row]),
            "issue": bool(self.is_issue[row]),
            "error": self.errors[row][:MAX_FILE],
            "label_score": rounded(self.label_score[row]),
            "p_clean": rounded(self.p_clean[row]),
            "p_given": rounded(self.p_given[row]),
            "p_predicted": rounded(self.p_predicted[row]),
        }


def read_issue_table(folder: Path) -> IssueTable:
    """Read the issues and classes of a finished scan.

    Raises
    ------
    InputError
        If the folder is not the output of a scan.
    """
    issues = LabelIssues.load(folder).table
    classes = read_json(folder / "classes.json")
    if not isinstance(classes, list) or not classes:
        raise InputError(f"{folder / 'classes.json'} must hold a list; run `labelsieve scan` again")
    names = [str(name) for name in classes]
    labels = {k: _texts(issues[f"{k}_label"]) for k in ("given", "predicted", "suggested")}
    known = dict.fromkeys([*names, *(t for column in labels.values() for t in column if t)])
    index = {name: position for position, name in enumerate(known)}
    codes = {
        k: np.array([index.get(text, -1) for text in column], dtype=np.int64)
        for k, column in labels.items()
    }
    columns = ("label_score", "p_clean", "p_given", "p_predicted")
    numbers = {name: issues[name].astype(float).to_numpy() for name in columns}
    ids, detectors = _texts(issues["id"]), [t for t in _texts(issues["detector"]) if t]
    files = [file or name for file, name in zip(_texts(issues["file_name"]), ids, strict=True)]
    return IssueTable(
        ids=ids,
        files=files,
        errors=_texts(issues["error"]),
        names=list(known),
        n_classes=len(names),
        action=np.array(_texts(issues["action"])),
        is_issue=issues["is_label_issue"].fillna(False).to_numpy(dtype=bool),
        detector=detectors[0] if detectors else "",
        **codes,
        **numbers,
    )


def rounded(value: float) -> float | None:
    """A number with four digits for JSON; None for NaN."""
    return round(float(value), 4) if np.isfinite(value) else None


def _texts(column: pd.Series) -> list[str]:
    """Values as text that is valid Unicode; "" where missing."""
    texts = [
        "" if value is None or value is pd.NA or value != value else str(value) for value in column
    ]
    return [text.encode("utf-8", "replace").decode("utf-8") for text in texts]
