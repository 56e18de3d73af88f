"""A gate for data sets: only label issues that nobody has accepted yet count."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq

from ..core.exceptions import InputError, gather
from ..core.serialization import atomic_path, has_header
from ..detectors import LabelIssues
from .decisions import ACTIONS, HeldLabels

COLUMNS = ("id", "file_name", "given_label")
ACCEPTED = ("keep", "unsure")
TRUE = ("true", "1", "yes")
PIECE_ROWS = 100_000
MOST_NEW = 100_000


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
        Rows of the issues table that are issues and not accepted, worst first; at most `MOST_NEW`
        of a table that is read in pieces.
    n_new : int
        How many there are.
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
    n_new: int
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
            "n_new": self.n_new,
            "n_accepted": self.n_accepted,
            "n_unknown_in_baseline": self.n_unknown,
            "new": [str(name) for name in self.new["id"]],
        }


def issue_tables(folder: Path | str) -> Iterator[pd.DataFrame]:
    """The issues of a finished scan in pieces, for tables that memory should not hold whole."""
    with pq.ParquetFile(Path(folder) / "issues.parquet") as file:
        for batch in file.iter_batches(PIECE_ROWS):
            yield batch.to_pandas()


def check_gate(
    issues: LabelIssues | Iterable[pd.DataFrame], baseline: Baseline | None, limit: float | None
) -> GateResult:
    """Count the label issues that a baseline does not accept.

    Parameters
    ----------
    issues : LabelIssues or iterable of DataFrame
        Of a scan, whole or in pieces.
    baseline : Baseline, optional
        Accepted issues; without it every issue is new.
    limit : float, optional
        Largest share of new issues that passes, in 0..1; None lets everything pass.
    """
    known, whole = baseline or Baseline({}, ""), isinstance(issues, LabelIssues)
    unknown, worst = set(known.entries), []
    n_judged = n_accepted = n_new = 0
    for table in [issues.table] if isinstance(issues, LabelIssues) else issues:
        judged = LabelIssues(table).worst()
        flagged = judged[judged["is_label_issue"]]
        pairs = zip(flagged["id"], flagged["given_label"], strict=True)
        accepted = [known.accepts(str(name), str(label)) for name, label in pairs]
        new = flagged.loc[[not ok for ok in accepted]]
        n_judged, n_accepted = n_judged + len(judged), n_accepted + sum(accepted)
        n_new += len(new)
        unknown.difference_update(table["id"].astype(object) if unknown else ())
        worst.append(new)
        if not whole:
            worst = [pd.concat(worst).sort_values("label_score", kind="stable").head(MOST_NEW)]
    return GateResult(
        new=worst[0],
        n_new=n_new,
        n_accepted=n_accepted,
        n_judged=n_judged,
        n_unknown=len(unknown),
        share=n_new / max(n_judged, 1),
        limit=limit,
    )


def read_baseline(path: Path | str) -> Baseline:
    """Read accepted issues from a CSV file with a column `id`.

    Of a table with the column `is_label_issue` (the ``issues.csv`` of a former scan) the issues
    are accepted; of one with `action` (decisions) the rows "keep" and "unsure", while "relabel" and
    "drop" remain issues until they are applied; of any other table all rows. With a column
    `given_label` a row is accepted for that label only: relabeled to something else, it is new;
    so is a decision "keep" that says which label it keeps.
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
    label = "given_label" if "given_label" in names else ""
    if "is_label_issue" in names:
        rule = "issues of a former scan"
        chosen = [row for _, row in rows if row["is_label_issue"].strip().lower() in TRUE]
    elif "action" in names:
        rule = "decisions: keep and unsure"
        label = label or "label"  # of a "keep" the kept one
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
    return Baseline(_entries(chosen, label), rule)


def with_kept(baseline: Baseline | None, held: HeldLabels | None) -> Baseline | None:
    """A baseline, and the labels that people kept: a scan without their decisions may flag them.

    Parameters
    ----------
    baseline : Baseline, optional
        Accepted issues.
    held : HeldLabels, optional
        What people decided.
    """
    if held is None:
        return baseline
    known = baseline or Baseline({}, "decisions: keep")
    entries = dict(known.entries)
    for row in held.decisions.rows:
        labels = entries.get(row.id, set())
        if row.action == "keep" and row.label and labels is not None:
            entries[row.id] = labels | {row.label}
    return replace(known, entries=entries)


def write_baseline(
    path: Path | str,
    issues: LabelIssues | Iterable[pd.DataFrame],
    former: Baseline | None = None,
    *,
    force: bool = False,
) -> int:
    """Accept the issues of a scan: write their id, file name and given label as CSV.

    Parameters
    ----------
    path : Path or str
        File to write; an earlier baseline is replaced.
    issues : LabelIssues or iterable of DataFrame
        Of a scan, whole or in pieces.
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
    path = check_replaceable(path, force)
    known, n = former or Baseline({}, ""), 0
    try:
        with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(COLUMNS)
            for table in [issues.table] if isinstance(issues, LabelIssues) else issues:
                rows = _accepted_rows(table, known)
                writer.writerows(rows)
                n += len(rows)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error}") from error
    return n


def check_replaceable(path: Path | str, force: bool) -> Path:
    """The path, if a baseline may be written there.

    Raises
    ------
    InputError
        If a folder is in the way, or without `force` a file that is no baseline.
    """
    path = Path(path).expanduser()
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file for the baseline")
    if path.exists() and not force and not has_header(path, COLUMNS):
        raise InputError(f"{path} exists and is no baseline; add --force to replace it")
    return path


def _accepted_rows(table: pd.DataFrame, known: Baseline) -> list[list[str]]:
    """Issues, and rows that were accepted before with the label that they have."""
    flagged = table["is_label_issue"].tolist()
    cells = table[list(COLUMNS)].itertuples(index=False, name=None)
    return [
        [str(cell) for cell in row]
        for row, issue in zip(cells, flagged, strict=True)
        if pd.notna(row[2]) and (issue or known.accepts(str(row[0]), str(row[2])))
    ]


def _entries(rows: Iterable[dict[str, str]], column: str) -> dict[str, set[str] | None]:
    """The labels in a column that are accepted for each id; None where it has none."""
    entries: dict[str, set[str] | None] = {}
    for row in rows:
        label = row.get(column, "")
        labels = entries.setdefault(row["id"], set())
        if not label:
            entries[row["id"]] = None
        elif labels is not None:
            labels.add(label)
    return entries
