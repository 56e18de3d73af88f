"""Reading decisions: of the review page, of a CSV file, or of Label Studio."""

from __future__ import annotations

import csv
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.exceptions import InputError, gather
from ..core.serialization import read_json
from .decisions import COLUMNS, Decision, Decisions, merged, one_each

DATABASE = "decisions.sqlite"
TABLE = "decisions.csv"
SEPARATORS = {".csv": ",", ".tsv": "\t"}

# Names in the Label Studio project that `labelsieve export --format label-studio` describes.
TASK_ID = "labelsieve_id"
TASK_GIVEN = "given_label"
LABEL_CONTROL = "label"
DECISION_CONTROL = "decision"


def read_decisions(source: str | os.PathLike[str]) -> Decisions:
    """Read decisions.

    Parameters
    ----------
    source : path
        The folder of a scan (its ``decisions.csv``, those that it was made with, overlaid by its
        ``decisions.sqlite``, those of the review page); such a database; a CSV or TSV file with
        the columns id, action, label and, if there are any, reviewer and time; or Label Studio's
        JSON export (JSON or JSON-MIN) of tasks that `labelsieve export` wrote.

    Raises
    ------
    InputError
        If there are none, or the file cannot be understood; all problems in one message.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        found = decisions_of_scan(path)
        if found is None:
            raise InputError(
                f"{path} holds no decisions (no {DATABASE}, no {TABLE}); run `labelsieve review "
                f"{path}`, or pass a CSV file with the columns id, action and label"
            )
        return found
    if not path.is_file():
        raise InputError(f"there is no file of decisions {str(path)!r}")
    suffix = path.suffix.lower()
    if suffix in (".sqlite", ".sqlite3", ".db"):
        return one_each(_from_database(path), str(path))
    if suffix in SEPARATORS:
        return one_each(_from_table(path), str(path))
    if suffix == ".json":
        return one_each(_from_label_studio(path), str(path))
    raise InputError(
        f"{path}: decisions come as .sqlite (of `labelsieve review`), .csv, .tsv or .json (of "
        f"Label Studio), not {suffix or 'without an ending'!r}"
    )


def decisions_of_scan(folder: Path) -> Decisions | None:
    """The decisions that lie in the folder of a scan; None when there are none."""
    found = None
    if (folder / TABLE).is_file():
        found = read_decisions(folder / TABLE)
    if (folder / DATABASE).is_file():
        newer = read_decisions(folder / DATABASE)
        found = newer if found is None else merged(found, newer)
        back = set(_taken_back(folder / DATABASE))
        found = replace(found, rows=tuple(row for row in found.rows if row.id not in back))
    return found


def _from_database(path: Path) -> list[Decision]:
    """The table `current`."""
    query = f"SELECT {', '.join(COLUMNS)} FROM current ORDER BY id"
    return [Decision(*row) for row in _query(path, query)]


def _taken_back(path: Path) -> list[str]:
    """Ids whose decision was undone on the review page."""
    if not _query(path, "SELECT 1 FROM sqlite_master WHERE name = 'history'"):
        return []
    undone = "SELECT id FROM history EXCEPT SELECT id FROM current"
    return [name for (name,) in _query(path, undone)]


def _query(path: Path, query: str) -> list[tuple[Any, ...]]:
    """Rows of a database that is opened for reading only."""
    address, error = path.resolve().as_uri(), None
    # A database in write-ahead mode on a read-only disk opens only as immutable.
    for mode in ("mode=ro", "immutable=1"):
        try:
            with closing(sqlite3.connect(f"{address}?{mode}", uri=True, timeout=20)) as connection:
                return connection.execute(query).fetchall()
        except sqlite3.Error as problem:
            error = error or problem
    raise InputError(f"cannot read {path} as decisions of `labelsieve review`: {error}")


def _from_table(path: Path) -> list[Decision]:
    """A CSV or TSV file; white space of ids counts, an empty cell is none."""
    rows, problems = [], []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, delimiter=SEPARATORS[path.suffix.lower()], restval="")
            absent = [name for name in ("id", "action") if name not in (reader.fieldnames or ())]
            if absent:
                raise InputError(
                    f"{path} lacks the column {' and '.join(absent)}; decisions have the columns "
                    f"id, action, label and, if there are any, reviewer and time (found: "
                    f"{', '.join(reader.fieldnames or ()) or 'none'})"
                )
            for cells in reader:
                if not cells["id"]:
                    problems.append(f"line {reader.line_num}: the id is empty")
                    continue
                texts = {name: cells.get(name) or None for name in COLUMNS[2:]}
                rows.append(Decision(cells["id"], cells["action"].strip().lower(), **texts))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {path} as a table: {error}") from error
    gather(problems, what=str(path))
    return rows


def _from_label_studio(path: Path) -> list[Decision]:
    """Label Studio's export as JSON (nested annotations) or JSON-MIN (one flat object each)."""
    tasks = read_json(path)
    if not isinstance(tasks, list) or not all(isinstance(task, dict) for task in tasks):
        raise InputError(f"{path} is no JSON export of Label Studio: expected a list of tasks")
    rows, nameless = [], 0
    for task in tasks:
        data = task.get("data", task)
        name = data.get(TASK_ID) if isinstance(data, dict) else None
        if not isinstance(name, str):
            nameless += 1
            continue
        for answer in _answers(task):
            row = _decision_of(name, data.get(TASK_GIVEN), answer)
            rows += [] if row is None else [row]
    if nameless:
        raise InputError(
            f"{path}: {nameless} of {len(tasks)} tasks have no {TASK_ID!r} in their data; import "
            "the tasks that `labelsieve export --format label-studio` writes"
        )
    return rows


def _answers(task: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The choices of each annotation by control, with who made it and when."""
    if "annotations" not in task:
        chosen = {name: _first(task.get(name)) for name in (LABEL_CONTROL, DECISION_CONTROL)}
        yield {"by": task.get("annotator"), "time": task.get("updated_at"), **chosen}
        return
    for annotation in task["annotations"]:
        if annotation.get("was_cancelled"):
            continue
        answer = {"by": annotation.get("completed_by"), "time": annotation.get("updated_at")}
        for result in annotation.get("result", ()):
            if result.get("type") == "choices":
                answer[result.get("from_name")] = _first(result.get("value", {}).get("choices"))
        yield answer


def _first(value: Any) -> str | None:
    """One choice, which JSON-MIN writes as text and JSON as a list."""
    if isinstance(value, dict):
        value = value.get("choices")
    if isinstance(value, list):
        value = value[0] if value else None
    return value if isinstance(value, str) and value else None


def _decision_of(name: str, given: Any, answer: dict[str, Any]) -> Decision | None:
    """The decision in an answer; None when nothing was chosen."""
    by = answer["by"]
    by = (by.get("email") or by.get("id")) if isinstance(by, dict) else by
    who, when = None if by is None else str(by), answer["time"]
    if answer.get(DECISION_CONTROL):
        return Decision(name, answer[DECISION_CONTROL], None, who, when)
    label = answer.get(LABEL_CONTROL)
    if label is None:
        return None
    return Decision(name, "keep" if label == given else "relabel", label, who, when)
