"""Writing a corrected data set from a scan and decisions; the originals are never touched."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from ..core.exceptions import InputError, gather
from ..core.serialization import atomic_folder, read_json, write_json
from ..core.validation import IntArray, check_choice
from ..core.version import __version__
from ..data import LabeledImages
from ..data.folders import split_name
from ..detectors import LabelIssues
from .changes import CHANGES, HELD_BACK, RECORD, Change, write_changes
from .corrected import WRITERS
from .decision_files import decisions_of_scan, read_decisions
from .decisions import Decisions, hold
from .reopen import check_outside, data_of_scan, images_of_scan

ACCEPTABLE = ("relabel", "drop")
TEST_WORDS = "labels of test images stay as they are; --include-test changes them too"


@dataclass(frozen=True)
class Applied:
    """A corrected data set.

    Attributes
    ----------
    folder : Path
        Where it is.
    n_images : int
        Rows in it.
    changes : list of Change
        What was changed, in the order of the images.
    held_back : list of Change
        Changes of test images that were reported and not made.
    notes : tuple of str
        What the person should know.
    """

    folder: Path
    n_images: int
    changes: list[Change]
    held_back: list[Change]
    notes: tuple[str, ...]


def apply(
    scan: Path | str,
    out: Path | str,
    *,
    decisions: Path | str | None = None,
    how: str = "metadata",
    accept: tuple[str, ...] = (),
    include_test: bool = False,
) -> Applied:
    """Write the data set of a scan with the labels that people decided.

    Parameters
    ----------
    scan : Path or str
        Folder of a finished scan.
    out : Path or str
        New or empty folder, outside the scanned one. It appears whole or not at all.
    decisions : Path or str, optional
        See `read_decisions`; left out, those in the folder of the scan, if there are any.
    how : str
        "metadata" (a table that names the image files where they are), "copy" or "link" (class
        folders of copies or symbolic links, with the table), "parquet" (one table with the images
        in it) or "hf" (`datasets.save_to_disk`).
    accept : tuple of str
        "relabel" and "drop": take what the scan proposes for rows that nobody decided.
    include_test : bool
        Change labels of test images too; otherwise they are reported only.

    Raises
    ------
    InputError
        If the images are gone or have other labels now, decisions do not fit, or `out` is in the
        way.
    """
    scan = Path(scan)
    check_choice(how, WRITERS, name="how")
    bad = [repr(action) for action in accept if action not in ACCEPTABLE]
    if bad:
        raise InputError(f"accept takes {' and '.join(ACCEPTABLE)}, not {', '.join(bad)}")
    images, problem = images_of_scan(scan)
    if images is None:
        raise InputError(f"{problem}; the data set of {scan} cannot be written")
    source = data_of_scan(scan)
    target = free_folder(out, source)
    issues = LabelIssues.load(scan)
    _check_labels(images, issues)
    given = decisions_of_scan(scan) if decisions is None else read_decisions(decisions)
    wanted = planned_changes(images, issues, given or Decisions((), ""), accept)
    test = {row for row, _ in wanted if is_test(images, row, source)}
    held_back = [] if include_test else [change for row, change in wanted if row in test]
    made = [pair for pair in wanted if include_test or pair[0] not in test]
    notes = _notes(source, len(test), include_test)
    labels, dropped = images.given_labels.copy(), np.zeros(len(images), dtype=bool)
    position = {name: k for k, name in enumerate(images.class_names)}
    for row, change in made:
        if change.action == "drop":
            dropped[row] = True
        else:
            labels[row] = position[change.after]
    kept = np.flatnonzero(~dropped)
    if len(kept) == 0:
        raise InputError("every image is to be dropped; nothing would be left")
    changes = [change for _, change in made]
    record = {
        "labelsieve": __version__,
        "scan": str(scan.resolve()),
        "data": _data_record(scan),
        "how": how,
        "decisions": None if given is None else {"source": given.origin, **given.counts()},
        "accept": list(accept),
        "n_images": len(kept),
        "n_changed": len(changes),
        "n_held_back": len(held_back),
    }
    with staged(target) as stage:
        before = names_of(images, images.given_labels)
        WRITERS[how](images.with_labels(labels).subset(kept), before[kept], stage)
        write_changes(stage / CHANGES, changes)
        if held_back:
            write_changes(stage / HELD_BACK, held_back)
        write_json(stage / RECORD, record)
    return Applied(target, len(kept), changes, held_back, notes)


def planned_changes(
    images: LabeledImages, issues: LabelIssues, decisions: Decisions, accept: tuple[str, ...]
) -> list[tuple[int, Change]]:
    """The rows to change, by decisions and by accepted actions of the scan, in row order.

    A row that somebody decided, "keep" and "unsure" included, is not changed by the scan.
    """
    held = hold(decisions, images)
    before = names_of(images, images.given_labels)
    classes = np.array([*images.class_names, None], dtype=object)
    who = {row.id: row.reviewer for row in decisions.rows}
    found = []
    columns = (issues.table[name].tolist() for name in ("action", "suggested_label"))
    for row, (proposed, suggestion) in enumerate(zip(*columns, strict=True)):
        action, after = str(held.action[row]), classes[held.label[row]]
        origin = who.get(images.ids[row]) or "decision"
        if not action and proposed in accept:
            action, after, origin = proposed, suggestion, "scan"
        if action in ACCEPTABLE:
            after = "" if action == "drop" else str(after)
            change = Change(
                str(images.ids[row]), str(images.file_names[row]), before[row] or "", after,
                action, origin,
            )  # fmt: skip
            found.append((row, change))
    return found


def names_of(images: LabeledImages, labels: IntArray) -> np.ndarray[Any, Any]:
    """Label names (N,); None where there is none."""
    return np.array([*images.class_names, None], dtype=object)[labels]


def is_test(images: LabeledImages, row: int, source: Path | None) -> bool:
    """Whether a row belongs to a test split, by the names of the folders that it lies in.

    A folder that is the row's class is no split, and neither is one above the data set. A data set
    that is called ``test`` or, say, ``digits_test.parquet``, is one.
    """
    label = names_of(images, images.given_labels[[row]])[0]
    inside = PurePosixPath(str(images.file_names[row])).parts[:-1]
    if any(split_name(part) == "test" and part != label for part in inside):
        return True
    words = [] if source is None else re.split(r"[^a-zA-Z]+", source.stem)
    if any(split_name(word) == "test" for word in words):
        return True
    location = images.location(row)
    if location is None or source is None or not Path(location).is_relative_to(source):
        return _split_in(images.rule) == "test"
    folders = Path(location).relative_to(source).parts[:-1]
    return _split_in(images.rule) == "test" or any(
        split_name(part) == "test" and part != label for part in folders
    )


def _split_in(rule: str) -> str | None:
    """The split that the reading rule says was read."""
    for words in (", split folder '", ", split '"):
        if words in rule:
            return split_name(rule.partition(words)[2].partition("'")[0])
    return None


@contextmanager
def staged(target: Path) -> Iterator[Path]:
    """A temporary folder beside `target` that takes its place when the block succeeds."""
    try:
        with atomic_folder(target) as partial:
            yield partial
    except OSError as error:
        raise InputError(f"cannot write {target}: {error}") from error


def free_folder(out: Path | str, source: Path | None) -> Path:
    """The folder to write, checked: new or empty, and not in the data that were read."""
    target = Path(os.path.abspath(Path(out).expanduser()))
    check_outside(target, source)
    if target.exists() and not target.is_dir():
        raise InputError(f"{target} is a file; name a new folder with -o")
    if target.is_dir() and any(target.iterdir()):
        raise InputError(f"{target} is not empty; name a new or empty folder with -o")
    return target


def _data_record(scan: Path) -> dict[str, Any]:
    return read_json(scan / "run.json").get("data", {})


def _check_labels(images: LabeledImages, issues: LabelIssues) -> None:
    """The labels must be those that were judged."""
    judged = issues.table["given_label"].astype(object)
    now = names_of(images, images.given_labels)
    changed = [
        f"id {name!r} was {before!r} and is {after!r}"
        for name, before, after in zip(
            images.ids, judged.where(judged.notna(), None), now, strict=True
        )
        if before != after
    ]
    if len(changed) > 5:
        changed = [*changed[:5], f"and {len(changed) - 5} more"]
    gather(changed, what="labels have changed since the scan; scan the data again")


def _notes(source: Path | None, n_test: int, include_test: bool) -> tuple[str, ...]:
    notes = []
    if n_test:
        words = "they are changed, as --include-test asks" if include_test else TEST_WORDS
        notes.append(f"{n_test} changes concern images of a test split: {words}")
    if source is not None and source.is_dir():
        others = sorted(p.name for p in source.iterdir() if p.is_dir() and split_name(p.name))
        names = [name for name in others if split_name(name) == "test"]
        if names and len(others) > 1:
            notes.append(
                f"the split {', '.join(names)} of {source} is left alone: it is not in the result, "
                "and its labels are as they were"
            )
    return tuple(notes)
