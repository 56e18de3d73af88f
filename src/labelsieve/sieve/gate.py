"""A gate for data sets: only label issues that nobody has accepted yet count."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from ..core.exceptions import InputError, gather
from ..core.serialization import atomic_path
from ..detectors import LabelIssues
from .decisions import ACTIONS

COLUMNS = ("id", "file_name", "given_label")
ACCEPTED = ("keep", "unsure")
TRUE = ("true", "1", "yes")


@dataclass(frozen=True)
class Baseline:
    """Issues that are accepted as they are.

    Attributes
    ----------
    entries : dict of str to (set of str, or None)
        For an id, the given labels for which it is accepted; None accepts any label.
    rule : str
        How the file was read, in words.
    """

    entries: dict[str, set[str] | None]
    rule: str

    def __len__(self) -> int:
        return len(self.entries)

    def accepts(self, name: str, given_label: str) -> bool:
        """Whether the issue of a row is an accepted one."""
        labels = self.entries.get(name, set())
        return labels is None or given_label in labels


@dataclass(frozen=True)
class GateResult:
    """What a gate saw.

    Attributes
    ----------
    new : pandas.DataFrame
        Rows of the issues table that are issues and not accepted, worst first.
    n_accepted : int
        Issues that the baseline accepts.
    n_judged : int
        Rows with an image and a label.
    n_unknown : int
        Ids of the baseline that are not in the data; they have no effect.
    share : float
        New issues among the judged rows.
    limit : float or None
        The largest share that passes.
    """

    new: pd.DataFrame
    n_accepted: int
    n_judged: int
    n_unknown: int
    share: float
    limit: float | None

    @property
    def passed(self) -> bool:
        """Whether the share of new issues is not over the limit."""
        return self.limit is None or self.share <= self.limit

    def record(self) -> dict[str, Any]:
        """Plain figures, and the ids of the new issues."""
        return {
            "passed": self.passed,
            "limit": self.limit,
            "share": self.share,
            "n_new": len(self.new),
            "n_accepted": self.n_accepted,
            "n_unknown_in_baseline": self.n_unknown,
            "new": [str(name) for name in self.new["id"]],
        }


def check_gate(issues: LabelIssues, baseline: Baseline | None, limit: float | None) -> GateResult:
    """Count the label issues that a baseline does not accept.

    Parameters
    ----------
    issues : LabelIssues
        Of a scan.
    baseline : Baseline, optional
        Accepted issues; without it every issue is new.
    limit : float, optional
        Largest share of new issues that passes, in 0..1; None lets everything pass.
    """
    worst = issues.worst()
    flagged = worst[worst["is_label_issue"]]
    known = Baseline({}, "") if baseline is None else baseline
    pairs = zip(flagged["id"], flagged["given_label"], strict=True)
    accepted = [known.accepts(str(name), str(label)) for name, label in pairs]
    new = flagged.loc[[not ok for ok in accepted]]
    ids = set(issues.table["id"].astype(object))
    return GateResult(
        new=new,
        n_accepted=sum(accepted),
        n_judged=len(worst),
        n_unknown=sum(name not in ids for name in known.entries),
        share=len(new) / max(len(worst), 1),
        limit=limit,
    )


def read_baseline(path: Path | str) -> Baseline:
    """Read accepted issues from a CSV file with a column `id`.

    Of a table with the column `is_label_issue` (the ``issues.csv`` of a former scan) the issues
    are accepted; of one with `action` (decisions) the rows "keep" and "unsure", while "relabel" and
    "drop" remain issues until they are applied; of any other table all rows. With a column
    `given_label` a row is accepted for that label only: relabeled to something else, it is new.
    Repeated rows are one.

    Raises
    ------
    InputError
        If the file cannot be read, has no column `id`, or an id is empty.
    """
    path = Path(path).expanduser()
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, restval="")
            names = tuple(reader.fieldnames or ())
            if "id" not in names:
                raise InputError(
                    f"{path}: a baseline is a CSV file with the column id (found: "
                    f"{', '.join(names) or 'nothing'}); `labelsieve scan --write-baseline FILE` "
                    "writes one"
                )
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read the baseline {path}: {error}") from error
    problems = [f"line {line}: the id is empty" for line, row in rows if not row["id"]]
    if "is_label_issue" in names:
        rule = "issues of a former scan"
        chosen = [row for _, row in rows if row["is_label_issue"].strip().lower() in TRUE]
    elif "action" in names:
        rule = "decisions: keep and unsure"
        chosen = [row for _, row in rows if row["action"].strip().lower() in ACCEPTED]
        problems += [
            f"line {line}: action {row['action']!r} is none of {', '.join(ACTIONS)}"
            for line, row in rows
            if row["action"].strip().lower() not in ACTIONS
        ]
    else:
        rule, chosen = "all rows", [row for _, row in rows]
    if len(problems) > 10:
        problems = [*problems[:10], f"and {len(problems) - 10} more like these"]
    gather(problems, what=f"baseline {path}")
    return Baseline(_entries(chosen, "given_label" in names), rule)


def write_baseline(
    path: Path | str, issues: LabelIssues, former: Baseline | None = None, *, force: bool = False
) -> int:
    """Accept the issues of a scan: write their id, file name and given label as CSV.

    Parameters
    ----------
    path : Path or str
        File to write; an earlier baseline is replaced.
    issues : LabelIssues
        Of a scan.
    former : Baseline, optional
        Its entries stay, where the row is still in the data with the accepted label.
    force : bool
        Replace a file that is no baseline, too.

    Returns
    -------
    int
        Number of rows written.

    Raises
    ------
    InputError
        If something else is in the way, or the file cannot be written.
    """
    path = Path(path).expanduser()
    if path.exists() and not force and not _is_baseline(path):
        raise InputError(f"{path} exists and is no baseline; add --force to replace it")
    table = issues.table
    flagged, known = table["is_label_issue"].tolist(), former or Baseline({}, "")
    rows = [
        [str(cell) for cell in cells]
        for cells, issue in zip(
            table[list(COLUMNS)].itertuples(index=False, name=None), flagged, strict=True
        )
        if pd.notna(cells[2]) and (issue or known.accepts(str(cells[0]), str(cells[2])))
    ]
    try:
        with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            writer.writerows(rows)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error}") from error
    return len(rows)


def _entries(rows: Iterable[dict[str, str]], labeled: bool) -> dict[str, set[str] | None]:
    entries: dict[str, set[str] | None] = {}
    for row in rows:
        label = row["given_label"] if labeled else ""
        labels = entries.setdefault(row["id"], set())
        if not label:
            entries[row["id"]] = None
        elif labels is not None:
            labels.add(label)
    return entries


def _is_baseline(path: Path) -> bool:
    """Whether the header of a file is that of a baseline."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return tuple(next(csv.reader(file), ())) == COLUMNS
    except (OSError, UnicodeDecodeError, csv.Error):
        return False
