"""The table of label issues: one row per input row, in input order, nothing dropped."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..core.arrays import CACHED, chunks
from ..core.exceptions import InputError
from ..core.serialization import atomic_path
from ..core.validation import BoolArray, FloatArray, IntArray

COLUMNS = (
    "id",
    "file_name",
    "given_label",
    "predicted_label",
    "is_label_issue",
    "label_score",
    "suggested_label",
    "action",
    "p_clean",
    "p_given",
    "p_predicted",
    "detector",
    "error",
)
ACTIONS = ("keep", "relabel", "drop", "review", "unreadable")


@dataclass(frozen=True, eq=False)
class LabelIssues:
    """Label issues as a table.

    Attributes
    ----------
    table : pandas.DataFrame
        One row per input row in input order, with the columns `COLUMNS`. Labels are names.
        `label_score` and `p_clean` are in 0..1 and LOWER is worse; both are missing where there is
        no image or no label to judge.

    Examples
    --------
    >>> issues = LabelIssues.load("out")  # doctest: +SKIP
    >>> issues.worst(20)[["file_name", "given_label", "suggested_label"]]  # doctest: +SKIP
    """

    table: pd.DataFrame

    def __len__(self) -> int:
        return len(self.table)

    @property
    def n_issues(self) -> int:
        """Number of rows whose label looks wrong."""
        return int(self.table["is_label_issue"].sum())

    def worst(self, n: int | None = None) -> pd.DataFrame:
        """Rows that were judged, worst first: issues before the rest, then by label score."""
        judged = self.table[self.table["label_score"].notna()]
        order = judged.iloc[np.lexsort((judged["label_score"], ~judged["is_label_issue"]))]
        return order if n is None else order.head(n)

    def _repr_html_(self) -> str:
        return self.worst(20).to_html()

    def save(self, folder: Path | str) -> None:
        """Write issues.parquet and issues.csv, each atomically."""
        for name in ("issues.csv", "issues.parquet"):
            with atomic_path(Path(folder) / name) as partial:
                if name.endswith("csv"):
                    write_csv(self.table, partial)
                else:
                    self.table.to_parquet(partial, index=False)

    @classmethod
    def load(cls, folder: Path | str) -> LabelIssues:
        """Read the issues of a scan from its folder, or from an issues.parquet file.

        Raises
        ------
        InputError
            If there is no such file, or it is damaged or lacks columns.
        """
        path = Path(folder)
        path = path / "issues.parquet" if path.is_dir() else path
        if not path.exists():
            raise InputError(f"{path} does not exist; run `labelsieve scan DATA -o OUT` first")
        table = read_issues(path)
        missing = [name for name in COLUMNS if name not in table]
        if missing:
            raise InputError(f"{path} lacks the columns {', '.join(missing)}")
        return cls(table)


def write_csv(table: pd.DataFrame, target: Any, *, header: bool = True) -> None:
    """Write rows of issues as CSV; with another end of line a carriage return in a name is one."""
    table.to_csv(target, index=False, header=header, lineterminator="\r\n")


def read_issues(path: Path, columns: list[str] | None = None) -> pd.DataFrame:
    """The table of an issues.parquet, or some of its columns.

    Raises
    ------
    InputError
        If the file cannot be read.
    """
    try:
        return pd.read_parquet(path, columns=columns)
    except (OSError, ValueError) as error:  # pyarrow's errors are one or the other
        raise InputError(
            f"cannot read {path} as parquet: {error}; fetch it again, or scan again"
        ) from error


def best_other_class(probabilities: FloatArray, given_labels: IntArray) -> IntArray:
    """The most probable class that is not the given label (N,); NaN counts as zero."""
    best = np.empty(len(given_labels), dtype=np.int64)
    for rows in chunks(len(probabilities), probabilities.shape[1], CACHED):
        others, given = np.array(probabilities[rows]), given_labels[rows]
        labeled, at = np.flatnonzero(given >= 0), np.arange(len(given))
        others[labeled, given[labeled]] = -1.0
        found = others.argmax(axis=1)
        unknown = np.flatnonzero(np.isnan(others[at, found]))  # argmax stops at the first NaN
        found[unknown] = np.nan_to_num(others[unknown]).argmax(axis=1)
        best[rows] = found
    return best


def _at(probabilities: FloatArray, classes: IntArray) -> FloatArray:
    """Probability of one class a row, (N,) float64; NaN counts as zero."""
    return np.nan_to_num(probabilities[np.arange(len(classes)), classes]).astype(np.float64)


def build_issues(
    *,
    ids: Any,
    file_names: Any,
    given_labels: IntArray,
    class_names: tuple[str, ...],
    label_score: FloatArray,
    is_label_issue: BoolArray,
    probabilities: FloatArray,
    p_clean: FloatArray,
    detector: str,
    errors: dict[int, str],
    fits_no_class: BoolArray | None = None,
) -> LabelIssues:
    """Assemble the table from arrays over all input rows (NaN where a row was not judged).

    An issue whose best other class is more probable than not is to be relabeled, unless the given
    label is more probably right than not as well (`p_clean`), as where a detector flags by a rule
    of its own; a less certain one, and a row without a label, is for a person to review; one that
    fits no class is to be dropped, and no label is suggested for it.

    Parameters
    ----------
    ids, file_names : sequence of str, length N
        Names of the rows.
    given_labels : ndarray of int64, shape (N,)
        Class indices, -1 where the label is missing.
    class_names : tuple of str
        K names.
    label_score, p_clean : ndarray, shape (N,)
        Low = worse.
    is_label_issue : ndarray of bool, shape (N,)
        Which labels look wrong.
    probabilities : ndarray, shape (N, K)
        Class probabilities; rows of NaN where the image cannot be read.
    detector : str
        Name of the detector.
    errors : dict of int to str
        Why a row cannot be read.
    fits_no_class : ndarray of bool, shape (N,), optional
        Issues whose image seems to belong to none of the classes.
    """
    n_rows = len(given_labels)
    names = np.array([*class_names, None], dtype=object)  # index -1 is "no label"
    readable = ~np.isnan(probabilities[:, 0])
    most = np.concatenate([probabilities[c].argmax(axis=1) for c in chunks(*probabilities.shape)])
    predicted = np.where(readable, most, -1)
    labeled = given_labels >= 0
    best_other = best_other_class(probabilities, given_labels)
    unlabeled = readable & ~labeled
    homeless = np.zeros(n_rows, dtype=bool) if fits_no_class is None else fits_no_class
    suggested = np.where((is_label_issue & ~homeless) | unlabeled, best_other, -1)
    confident = (_at(probabilities, best_other) >= 0.5) & ~(p_clean > 0.5)
    action = np.where(is_label_issue, np.where(confident, "relabel", "review"), "keep")
    action = np.where(homeless, "drop", action)
    action = np.where(unlabeled, "review", action)
    action = np.where(readable, action, "unreadable")
    error = np.full(n_rows, None, dtype=object)
    error[unlabeled] = "the label is missing"
    for row, text in errors.items():
        error[row] = text
    p_given = _at(probabilities, np.maximum(given_labels, 0))
    columns = {
        "id": np.asarray(ids, dtype=object),
        "file_name": np.asarray(file_names, dtype=object),
        "given_label": names[given_labels],
        "predicted_label": names[predicted],
        "is_label_issue": is_label_issue,
        "label_score": label_score,
        "suggested_label": names[suggested],
        "action": action,
        "p_clean": p_clean,
        "p_given": np.where(readable & labeled, p_given, np.nan),
        "p_predicted": np.where(readable, _at(probabilities, most), np.nan),
        "detector": np.full(n_rows, detector, dtype=object),
        "error": error,
    }
    texts = ("id", "file_name", "given_label", "predicted_label", "suggested_label", "error")
    table = pd.DataFrame(columns)
    return LabelIssues(table.astype(dict.fromkeys(texts, "string"))[list(COLUMNS)])
