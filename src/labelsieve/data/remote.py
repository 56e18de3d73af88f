"""Class trees and tables behind a URL: listed once, images read when they are asked for."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..core.exceptions import InputError, StorageError, UnreadableImageError
from ..core.text import counted
from ..core.validation import IntArray
from .class_names import CLASSES_FILE, ClassSpec, read_classes_json
from .folders import EXTENSIONS
from .listing import Listing, ReadOptions
from .parquet import read_parquet
from .sources import FileSource, ImageSource, ParquetSource
from .storage import download, expand_braces, is_url, join_url, list_files, read
from .tables import JSON_LINES, SEPARATORS, read_text_table


class RemoteSource(ImageSource):
    """One remote file a row.

    Parameters
    ----------
    root : str
        The URL that relative names are relative to.
    names : sequence of str or None
        Relative names or whole URLs; None or "" is a row without an image.
    sizes : sequence of int or None, optional
        Bytes of each file as listed; a body of another length is a failed attempt.
    """

    def __init__(
        self,
        root: str,
        names: Sequence[str | None],
        sizes: Sequence[int | None] | None = None,
    ):
        self.root, self.names = root, names
        self.sizes = [None] * len(names) if sizes is None else sizes

    def read_bytes(self, index: int) -> bytes:
        """The bytes of the file of a row."""
        name = self.names[index]
        if not name:
            raise UnreadableImageError("no image given")
        return read(join_url(self.root, name), size=self.sizes[index])

    def location(self, index: int) -> str | None:
        """Always None: there is no path on this machine."""
        return None

    def subset(self, indices: IntArray) -> ImageSource:
        """Files of the rows alone."""
        rows = [int(row) for row in indices]
        return RemoteSource(
            self.root, [self.names[row] for row in rows], [self.sizes[row] for row in rows]
        )


def read_remote_folder(url: str, options: ReadOptions) -> Listing:
    """List a class-per-folder tree behind a URL.

    Raises
    ------
    InputError
        If it cannot be listed, or splits are asked for.
    """
    if options.split is not None:
        raise InputError(f"{url}: give the URL of the split's folder, not split={options.split!r}")
    if url.startswith("http"):
        raise InputError(
            f"{url}: a web server has no list of its files; give tar shards "
            "(…/photos-{000..127}.tar) or a table of image URLs (.csv, .jsonl)"
        )
    files = list_files(url)
    names = [
        name
        for name in files
        if os.path.splitext(name)[1].lower() in EXTENSIONS
        and not any(part.startswith(".") for part in name.split("/"))
    ]
    tables = [name for name in files if name.endswith((".parquet", ".pq"))]
    if tables and not names:
        raise InputError(
            f"{url}: holds parquet tables and no image files; name the tables, such as "
            f"{join_url(url, tables[0])}, several as name-{{000..127}}.parquet"
        )
    skipped = len(files) - len(names) - (CLASSES_FILE in files)
    return Listing(
        file_names=names,
        labels=[name.split("/", 1)[0] if "/" in name else None for name in names],
        source=RemoteSource(url, names, [files[name] for name in names]),
        rule="one folder a class, remote",
        where=url,
        spec=spec_beside(join_url(url, "x")) if CLASSES_FILE in files else ClassSpec(),
        notes=(f"skipped {counted(skipped, 'file')} without an image extension",)
        if skipped
        else (),
    )


def read_remote_table(url: str, options: ReadOptions) -> Listing:
    """List a table behind a URL; images are inside, relative to it, or URLs.

    A text table is downloaded. Of a parquet table (or several, ``train-{000..127}.parquet``) only
    the columns that are needed are read, and images inside it row group by row group later.

    Raises
    ------
    InputError
        If it cannot be fetched or read.
    """
    root, shards = url.rpartition("/")[0], expand_braces(url)
    try:
        text = url.lower().endswith((*SEPARATORS, *JSON_LINES))
        listing = _download_table(url, options) if text else read_parquet(shards, options)
    except UnreadableImageError as error:
        raise InputError(f"cannot fetch the table: {error}") from error
    spec = spec_beside(url)
    spec = listing.spec if spec.order is None else spec
    if isinstance(listing.source, ParquetSource):
        return replace(listing, where=url, spec=spec)
    names = listing.source.names if isinstance(listing.source, FileSource) else []
    return replace(listing, source=RemoteSource(root, names), where=url, spec=spec)


def _download_table(url: str, options: ReadOptions) -> Listing:
    with tempfile.TemporaryDirectory(prefix="labelsieve-") as folder:
        path = Path(folder) / url.rpartition("/")[2]
        download(url, str(path))
        return read_text_table(path, options)


def spec_beside(name: str) -> ClassSpec:
    """The class order in the `classes.json` beside a file or URL, if there is one."""
    if not is_url(name):
        return read_classes_json(Path(name).parent)
    url = join_url(name.rpartition("/")[0], CLASSES_FILE)
    try:
        order = json.loads(read(url))
    except StorageError as error:
        raise InputError(f"cannot tell whether there is a class order: {error}") from error
    except UnreadableImageError:
        return ClassSpec()
    except ValueError as error:
        raise InputError(f"{url} is not JSON: {error}") from error
    if not isinstance(order, list):
        raise InputError(f"{url}: expected a JSON list of class names in class order")
    return ClassSpec(order=tuple(str(item) for item in order), origin=url)
