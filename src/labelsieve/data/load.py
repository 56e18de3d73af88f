"""`load_images`: finds the reader for what it is given."""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.exceptions import InputError
from .folders import (
    choose_split,
    files_of_split,
    holds_images,
    read_class_folders,
    refuse_split,
    split_folders,
    visible,
    walk_images,
)
from .hub import is_dataset, is_saved_dataset, read_dataset, read_hub, read_saved
from .images import LabeledImages
from .listing import Listing, ReadOptions, assemble
from .parquet import read_parquet, read_shards
from .remote import read_remote_folder, read_remote_table
from .storage import expand_braces, is_url, join_url, list_files
from .tables import TABLES, read_text_table
from .webdataset import read_tars

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")


def load_images(
    data: Any,
    *,
    image_column: str | None = None,
    label_column: str | None = None,
    class_names: Any = None,
    split: str | None = None,
    offline: bool = False,
    labels: bool = True,
) -> LabeledImages:
    """List images with their given labels; no image is opened.

    Parameters
    ----------
    data : path, str, datasets.Dataset or LabeledImages
        A class-per-folder tree, with or without train/ and test/ folders; a folder with
        ``metadata.csv|jsonl|parquet``; a CSV, TSV, JSON-lines or parquet table; a folder of
        parquet shards; a Hugging Face data set in memory, saved to disk or on the hub
        (``owner/name``, if there is no such path). WebDataset ``.tar`` shards, one, a folder of
        them, or ``name-{000..127}.tar``. All but Hugging Face data sets also by URL (``s3://``,
        ``gs://``, ``https://``, whatever fsspec knows). `LabeledImages` are returned as they are.
    image_column, label_column : str, optional
        Columns of a table; guessed from the usual names by default.
    class_names : list of str, dict or path, optional
        A list (or text file, or JSON list): the classes in order. A dict (or JSON object): words
        for prompts by label; the class order stays that of the data. Without it the order is
        that of the schema's class label, else of ``classes.json`` beside the data, else the
        natural order of the names.
    split : str, optional
        Which split of data that have splits; "train" by default.
    offline : bool
        Never reach for the network.
    labels : bool
        False: those of the data are not looked at, and no row has one; `class_names` are needed.

    Returns
    -------
    LabeledImages
        N rows, none dropped; `rule` says how the data were read, `notes` what to look at.

    Raises
    ------
    InputError
        If there is no such data, no image, fewer than two classes, or a bad column or label.
    MissingExtraError
        If a Hugging Face data set is given and `datasets` is not installed.

    Examples
    --------
    >>> import tempfile
    >>> root = Path(tempfile.mkdtemp())
    >>> for name in ("cat", "dog"):
    ...     (root / name).mkdir()
    ...     _ = (root / name / "1.png").write_bytes(b"")
    >>> images = load_images(root)
    >>> images.ids.tolist(), images.given_labels.tolist()
    (['cat/1.png', 'dog/1.png'], [0, 1])
    >>> images.rule
    'one folder a class; class order: natural order of the names'
    """
    if isinstance(data, LabeledImages):
        return data
    options = ReadOptions(image_column, label_column, class_names, split, offline, labels)
    if is_dataset(data):
        return assemble(read_dataset(data, options), options)
    if not isinstance(data, str | os.PathLike):
        raise InputError(f"data must be a path, a hub id or a data set, not {_kind(data)}")
    if not str(data):  # Path("") is the current folder, which nobody has asked for
        raise InputError("data is empty; give the path of a folder or table")
    path = Path(data).expanduser()
    try:
        return assemble(_list(str(data), path, options), options)
    except OSError as error:
        raise InputError(f"cannot read {str(path)!r}: {error.strerror or error}") from error


def _kind(data: Any) -> str:
    return f"{type(data).__module__}.{type(data).__qualname__}"


def _list(name: str, path: Path, options: ReadOptions) -> Listing:
    """The listing by the reader that fits a path, URL or hub id."""
    shards = tar_shards(name, options.split)
    if shards:
        return read_tars(shards, options)
    if is_url(name):
        table = Path(name).suffix.lower() in TABLES
        return read_remote_table(name, options) if table else read_remote_folder(name, options)
    if path.is_dir():
        return _list_folder(path, options)
    if path.exists():
        return _list_table(path, options)
    if _HUB_ID.fullmatch(name) and Path(name).suffix.lower() not in TABLES:
        return read_hub(name, options)
    raise InputError(f"there is no file or folder {name!r}; give the path of a folder or table")


def tar_shards(name: str, split: str | None = None) -> list[str]:
    """The tar shards that a name stands for; none when it stands for something else.

    Parameters
    ----------
    name : str
        A ``.tar`` file or URL, one with a range (``photos-{000..127}.tar``), or a folder whose
        files include tar shards. Beside a metadata table, or folders with images in them, they are
        taken for the archive that these were unpacked from.
    split : str, optional
        Which of the splits that the shards of a folder are named after (``train-000.tar``), or
        that its sub-folders are.

    Raises
    ------
    InputError
        If there is no such split.
    """
    found = _tars(name)
    if name.lower().endswith(".tar"):
        refuse_split(name, split)
    elif found:
        return files_of_split(found, split, name)[0]
    elif not is_url(name) and (root := Path(name).expanduser()).is_dir() and not _metadata(root):
        splits = split_folders(root)
        return _tars(str(root / choose_split(splits, split, name))) if splits else []
    return found


def _tars(name: str) -> list[str]:
    """The shards of a name, of all splits."""
    if name.lower().endswith(".tar"):
        return expand_braces(name)
    if is_url(name):
        if Path(name).suffix.lower() in TABLES or name.startswith("http"):
            return []
        found = [file for file in list_files(name) if "/" not in file]
        return [join_url(name, file) for file in found if file.lower().endswith(".tar")]
    path = Path(name).expanduser()
    found = _files(path, "*.tar") if path.is_dir() else []
    if found and (_metadata(path) or any("/" in name for name in walk_images(path).names)):
        return []
    return [str(file) for file in found]


def _files(folder: Path, pattern: str) -> list[Path]:
    """Files that a pattern names, without hidden ones, such as macOS writes beside each."""
    return [path for path in sorted(folder.glob(pattern)) if not path.name.startswith(".")]


def _metadata(root: Path) -> list[Path]:
    """The metadata tables in a folder."""
    return [path for suffix in TABLES if (path := root / f"metadata{suffix}").is_file()]


def _list_folder(root: Path, options: ReadOptions, split_rule: str = "") -> Listing:
    if is_saved_dataset(root):
        return read_saved(root, options)
    tables = _metadata(root)
    if len(tables) > 1:
        names = ", ".join(path.name for path in tables)
        raise InputError(f"{root}: several tables ({names}); give the path of one of them")
    if tables:
        return _list_table(tables[0], options, split_rule)
    splits = [] if split_rule else split_folders(root)
    if splits:
        chosen = choose_split(splits, options.split, str(root))
        inner = replace(options, split=None)
        return _list_folder(root / chosen, inner, f", split folder {chosen!r}")
    shards = _shards(root)
    if shards:
        return read_shards(root, shards, options)
    refuse_split(root, options.split)
    return read_class_folders(root, split_rule=split_rule)


def _shards(root: Path) -> list[Path]:
    """Parquet files in a folder or its `data`, unless other sub-folders are classes."""
    inside = [*_files(root, "*.parquet"), *_files(root / "data", "*.parquet")]
    return inside if inside and not _has_classes(root) else []


def _has_classes(root: Path) -> bool:
    folders = {entry.name for entry in visible(root) if entry.is_dir()}
    return holds_images(root, folders - {"data"})


def would_be_data(table: Path, data: Any) -> bool:
    """Whether a new parquet file would be read as a table of a data set.

    Parameters
    ----------
    table : Path
        The file to be written.
    data : path or other
        What `load_images` takes.
    """
    if not isinstance(data, str | os.PathLike) or not Path(data).expanduser().is_dir():
        return False
    root = Path(data).expanduser()
    if os.path.realpath(table.parent) not in map(os.path.realpath, (root, root / "data")):
        return False
    first = _tars(str(root)) or is_saved_dataset(root) or _metadata(root)
    return not (first or split_folders(root) or _has_classes(root))


def _list_table(path: Path, options: ReadOptions, split_rule: str = "") -> Listing:
    refuse_split(path, options.split)
    suffix = path.suffix.lower()
    if suffix not in TABLES:
        raise InputError(f"{path}: unknown kind of table {suffix!r}; allowed: {', '.join(TABLES)}")
    parquet = suffix in (".parquet", ".pq")
    listing = read_parquet([path], options) if parquet else read_text_table(path, options)
    return replace(listing, rule=listing.rule + split_rule)
