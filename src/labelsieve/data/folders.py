"""Class folders: the name of the first sub-folder is the label."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from ..core.exceptions import InputError
from ..core.text import counted
from .class_names import ClassSpec, read_classes_json
from .listing import Listing, printable
from .sources import FileSource
from .tables import TABLES

F = TypeVar("F", str, Path)

EXTENSIONS = frozenset(
    (
        *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".gif", ".bmp", ".dib", ".tif"),
        *(".tiff", ".ppm", ".pgm", ".pbm", ".pnm", ".avif", ".jp2", ".ico", ".pcx"),
        *(".heic", ".heif"),
    )
)
"""What counts as an image file; one that cannot be decoded becomes an unreadable row."""

SHARDS = (".parquet", ".tar")
_SPLITS = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
}


def split_name(name: str) -> str | None:
    """The split that a folder or file name stands for: train, validation, test or None."""
    return _SPLITS.get(name.casefold())


def choose_split(names: list[str], split: str | None, where: str) -> str:
    """The name that `split` picks among split names; train by default, or the only one.

    Raises
    ------
    InputError
        If `split` is not among them, or none was given and there is no train.
    """
    wanted = split or "train"
    if wanted in names:
        return wanted
    for name in sorted(names):
        if split_name(wanted) and split_name(name) == split_name(wanted):
            return name
    if split is None and len(names) == 1:
        return names[0]
    given = f"there is no split {split!r}" if split else "there is no split 'train'"
    raise InputError(f"{where}: {given}; choose one with split: {', '.join(sorted(names))}")


def files_of_split(files: Sequence[F], split: str | None, where: str) -> tuple[list[F], str]:
    """The files of a split, ``photos-train-000.tar``, and the words for it in a rule.

    Unless each has the word for one split in its name, these are all files and no words.

    Raises
    ------
    InputError
        If `split` is not among them, or there are several without train and none was given.
    """
    groups: dict[str, list[F]] = {}
    for file in files:
        words = re.findall("[a-z]+", os.path.basename(file).lower())
        named = {word for word in words if split_name(word)}
        groups.setdefault(named.pop() if len(named) == 1 else "", []).append(file)
    if "" in groups:
        refuse_split(where, split)
        return list(files), ""
    chosen = choose_split(list(groups), split, where)
    return groups[chosen], f", split {chosen!r}"


def refuse_split(where: Path | str, split: str | None) -> None:
    """Raise `InputError` if a split is asked for, of data that have none."""
    if split is not None:
        raise InputError(f"{where}: the data have no splits; leave out split={split!r}")


def split_folders(root: Path) -> list[str]:
    """Names of the split folders, if no other holds images and one has sub-folders or tables.

    Parquet and tar shards count as tables.

    A class called "train" beside other classes, or "train" and "test" holding images directly,
    is therefore a class.
    """
    folders = [entry.name for entry in visible(root) if _is_folder(entry)]
    names = [name for name in folders if split_name(name)]
    inner = [entry for name in names for entry in visible(root / name)]
    nested = any(
        _is_folder(entry) or entry.name.startswith("metadata.") or entry.name.endswith(SHARDS)
        for entry in inner
    )
    return names if nested and not holds_images(root, set(folders) - set(names)) else []


def holds_images(root: Path, names: Iterable[str]) -> bool:
    """Whether one of these folders is a class: results and notes beside the data hold no images."""
    return any(walk_images(root / name).names for name in names)


def visible(folder: Path) -> list[os.DirEntry[str]]:
    """The entries of a folder that are not hidden, by name."""
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if not entry.name.startswith(".")]
    return sorted(shown, key=lambda entry: entry.name)


@dataclass
class _Walk:
    """Image files below a folder, relative to it, with what was passed over (tables: in it)."""

    names: list[str] = field(default_factory=list)
    skipped: int = 0
    tables: list[str] = field(default_factory=list)
    closed: list[str] = field(default_factory=list)
    loops: int = 0


def walk_images(root: Path) -> _Walk:
    """List image files in a stable order without opening any; hidden entries are passed over.

    Links to folders are followed, except to a folder that they lie in.
    """
    walk = _Walk()
    stack: list[tuple[str, tuple[tuple[int, int], ...]]] = [("", (_identity(root),))]
    while stack:
        relative, above = stack.pop()
        try:
            entries = visible(root / relative)
        except OSError:
            walk.closed.append(relative)
            continue
        folders = []
        for entry in entries:
            if _is_folder(entry):
                identity = _identity(Path(entry.path))
                if identity in above:
                    walk.loops += 1
                else:
                    folders.append((f"{relative}{entry.name}/", (*above, identity)))
            elif os.path.splitext(entry.name)[1].lower() in EXTENSIONS:
                walk.names.append(relative + entry.name)
            else:
                walk.skipped += 1
                if not relative and entry.name.lower().endswith(TABLES):
                    walk.tables.append(entry.name)
        stack.extend(reversed(folders))
    return walk


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that points to itself
        return False


def _identity(path: Path) -> tuple[int, int]:
    status = os.stat(path)
    return status.st_dev, status.st_ino


def read_class_folders(root: Path, *, split_rule: str = "") -> Listing:
    """List a class-per-folder tree.

    Parameters
    ----------
    root : Path
        Its sub-folders are the classes, at any depth below them; images that lie directly in it
        have no label.
    split_rule : str
        Added to the rule when `root` is a split folder of the data.
    """
    walk = walk_images(root)
    labels = [printable(name.split("/", 1)[0]) if "/" in name else None for name in walk.names]
    flat = bool(labels) and not any(labels)
    rule = "a flat folder of images without labels" if flat else "one folder a class"
    return Listing(
        file_names=walk.names,
        labels=labels,
        source=FileSource(root, walk.names),
        rule=f"{rule}{split_rule}",
        where=str(root),
        spec=_spec(root, split_rule),
        notes=tuple(_notes(walk, None if flat else labels.count(None))),
    )


def _spec(root: Path, split_rule: str) -> ClassSpec:
    """`classes.json` in the folder or, for a split folder, beside it."""
    spec = read_classes_json(root)
    return read_classes_json(root.parent) if split_rule and spec.order is None else spec


def _notes(walk: _Walk, loose: int | None) -> list[str]:
    notes = []
    deep = {name.split("/", 1)[0] for name in walk.names if name.count("/") > 1}
    splits = sorted(name for name in deep if split_name(name))
    if len(splits) > 1:
        notes.append(
            f"the classes {', '.join(splits)} look like splits, but lie beside folders that are "
            "none; if they are, give the path of one of them"
        )
    if loose:
        notes.append(f"{counted(loose, 'image')} outside the class folders, without a label")
    if walk.tables:
        notes.append(
            f"not read: {', '.join(walk.tables[:5])}; if the labels are in there, give its path"
        )
    if walk.skipped:
        notes.append(f"skipped {counted(walk.skipped, 'file')} without an image extension")
    if walk.loops:
        notes.append(f"not followed: {counted(walk.loops, 'link')} to a folder that holds it")
    if walk.closed:
        notes.append(f"cannot list {counted(len(walk.closed), 'folder')}: {walk.closed[:5]}")
    return notes
