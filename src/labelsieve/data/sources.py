"""Where the bytes of the images are: files, columns of parquet files, Hugging Face data sets."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from abc import ABC, abstractmethod
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..core.exceptions import UnreadableImageError
from ..core.validation import IntArray
from .storage import filesystem, is_url, join_url, read, retried

T = TypeVar("T")
CACHE_BYTES = 256 * 2**20
"""Image bytes that a parquet source keeps in memory; at least one row group is kept."""


def read_file(path: str) -> bytes:
    """The bytes of a regular file.

    Raises
    ------
    UnreadableImageError
        If the file is missing, no regular file (a pipe would block for ever) or not readable.
    """
    try:
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise UnreadableImageError("not a regular file")
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError as error:
        raise UnreadableImageError(f"file not found: {path}") from error
    except (OSError, ValueError) as error:  # ValueError: a NUL byte in the path
        reason = getattr(error, "strerror", None) or str(error)
        raise UnreadableImageError(f"file cannot be read: {reason}") from error


def with_parquet(
    name: str | os.PathLike[str],
    use: Callable[[pq.ParquetFile], T],
    metadata: pq.FileMetaData | None = None,
) -> T:
    """What `use` makes of a parquet file; a remote one is read by ranges, again where that fails.

    Parameters
    ----------
    name : path or URL
    use : callable
        Takes the open file.
    metadata : FileMetaData, optional
        Spares a remote file the reading of its end.
    """
    if not isinstance(name, str) or not is_url(name):
        with pq.ParquetFile(name) as file:
            return use(file)

    def attempt() -> T:
        system, path = filesystem(name)
        with system.open(path, "rb", cache_type="none") as raw:
            return use(pq.ParquetFile(raw, metadata=metadata, pre_buffer=True))

    return retried(attempt, name)


class ImageSource(ABC):
    """Lazy access to the encoded images of N rows; thread-safe."""

    @abstractmethod
    def read_bytes(self, index: int) -> bytes:
        """The encoded image of a row; `UnreadableImageError` when there is none."""

    @abstractmethod
    def location(self, index: int) -> str | None:
        """The absolute path of the image file of a row, or None when it is embedded."""

    def stamp(self) -> str:
        """Sizes of the files behind the rows: another text tells that images have changed.

        Files of equal size and those behind URLs cannot be told apart.
        """
        return ""

    def subset(self, indices: IntArray) -> ImageSource:
        """The source of the rows `indices`, shape (M,), in that order."""
        return SubsetSource(self, indices)


class SubsetSource(ImageSource):
    """Rows of another source, by an index map."""

    def __init__(self, source: ImageSource, indices: IntArray):
        self.source = source
        self.indices = indices

    def read_bytes(self, index: int) -> bytes:
        """The encoded image of a row."""
        return self.source.read_bytes(int(self.indices[index]))

    def location(self, index: int) -> str | None:
        """The absolute path of the image file of a row, or None."""
        return self.source.location(int(self.indices[index]))

    def stamp(self) -> str:
        """That of the whole source."""
        return self.source.stamp()

    def subset(self, indices: IntArray) -> ImageSource:
        """A subset of a subset keeps one index map, not a chain of them."""
        return SubsetSource(self.source, self.indices[indices])


class FileSource(ImageSource):
    """One file a row.

    Parameters
    ----------
    root : path
        The folder that relative names are relative to.
    names : sequence of str, Path or None
        Relative or absolute paths, or URLs; None or "" is a row without an image.
    """

    def __init__(
        self, root: str | os.PathLike[str], names: Sequence[str | os.PathLike[str] | None]
    ):
        self.root = os.path.abspath(root)
        self.names = [None if name is None else os.fspath(name) for name in names]

    def read_bytes(self, index: int) -> bytes:
        """The bytes of the file of a row."""
        return struct_bytes(self.names[index], self.root)

    def location(self, index: int) -> str | None:
        """The absolute path of the file of a row; None where it is a URL."""
        return struct_location(self.names[index], self.root)

    def stamp(self) -> str:
        """A digest of the sizes of the files; see `ImageSource.stamp`."""
        return _sizes([self.location(row) for row in range(len(self.names))])

    def subset(self, indices: IntArray) -> ImageSource:
        """Files of the rows alone, so that a small subset is small when it is sent elsewhere."""
        return FileSource(self.root, [self.names[int(row)] for row in indices])


def struct_bytes(cell: Any, root: str) -> bytes:
    """The image in a cell: bytes, a path, or Hugging Face's ``{bytes, path}``."""
    if isinstance(cell, dict):
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, str) and cell:
        remote = is_url(root) or is_url(cell)
        return read(join_url(root, cell)) if remote else read_file(_absolute(root, cell))
    if not cell:
        raise UnreadableImageError("no image given")
    return bytes(cell)


def struct_location(cell: Any, root: str) -> str | None:
    """The absolute path of the image in a cell, or None when it holds bytes or nothing."""
    if isinstance(cell, dict):
        cell = None if cell.get("bytes") else cell.get("path")
    if is_url(root) or is_url(cell):
        return None
    return _absolute(root, cell) if isinstance(cell, str) and cell else None


def _absolute(root: str, cell: str) -> str:
    """A path without "..", which beside a link to a folder means the parent of where it leads."""
    path = os.path.join(root, cell)
    if os.pardir in Path(path).parts:
        folder, name = os.path.split(path)
        path = os.path.join(os.path.realpath(folder), name)
    return os.path.normpath(path)


class ParquetSource(ImageSource):
    """An image column of parquet files, read a row group at a time with a small cache.

    Parameters
    ----------
    paths : sequence of path or URL
        The files, whose rows follow each other.
    column : str
        The image column: binary, or a struct with `bytes` and `path`.
    """

    def __init__(self, paths: Sequence[Path | str], column: str):
        self.paths = [str(path) if is_url(path) else os.path.abspath(path) for path in paths]
        self.column = column
        self._starts: list[int] = []
        self._groups: list[tuple[int, int]] = []
        self._embedded: list[bool] = []
        row = 0
        for number, path in enumerate(self.paths):
            metadata = with_parquet(path, lambda file: file.metadata)
            for group in range(metadata.num_row_groups):
                self._starts.append(row)
                self._groups.append((number, group))
                self._embedded.append(_all_embedded(metadata.row_group(group), column))
                row += metadata.row_group(group).num_rows
        self._set_transient()

    def _set_transient(self) -> None:
        self._lock = threading.Lock()
        self._ends: dict[int, pq.FileMetaData] = {}
        self._cache: OrderedDict[int, pa.ChunkedArray] = OrderedDict()

    def __getstate__(self) -> dict[str, Any]:
        transient = ("_lock", "_ends", "_cache")
        return {key: value for key, value in self.__dict__.items() if key not in transient}

    def __setstate__(self, state: dict[str, Any]) -> None:
        for key, value in state.items():
            setattr(self, key, value)
        self._set_transient()

    def read_bytes(self, index: int) -> bytes:
        """The image of a row; a null `bytes` falls back to the file at `path`."""
        return struct_bytes(*self._cell(index))

    def location(self, index: int) -> str | None:
        """The absolute path where `bytes` is null, else None."""
        if self._embedded[bisect_right(self._starts, index) - 1]:
            return None
        return struct_location(*self._cell(index))

    def stamp(self) -> str:
        """A digest of the sizes of the parquet files; see `ImageSource.stamp`."""
        return _sizes([None if is_url(path) else path for path in self.paths])

    def _cell(self, index: int) -> tuple[Any, str]:
        """The content of a row and the folder that its path is relative to."""
        number = bisect_right(self._starts, index) - 1
        folder = os.path.dirname(self.paths[self._groups[number][0]])
        try:
            column = self._column(number)
        except (OSError, pa.ArrowException) as error:
            raise UnreadableImageError(f"parquet row group cannot be read: {error}") from error
        return column[index - self._starts[number]].as_py(), folder

    def _column(self, number: int) -> pa.ChunkedArray:
        """The image column of a row group, from the cache when it is there."""
        with self._lock:  # parquet readers are not thread-safe, and threads want the same group
            if number in self._cache:
                self._cache.move_to_end(number)
                return self._cache[number]
            column = self._read(*self._groups[number])
            self._cache[number] = column
            while len(self._cache) > 1 and _size(self._cache.values()) > CACHE_BYTES:
                self._cache.popitem(last=False)
            return column

    def _read(self, file: int, group: int) -> pa.ChunkedArray:
        """The image column of a row group; no file stays open, of a remote one its end is kept."""
        path = self.paths[file]
        if is_url(path) and file not in self._ends:
            self._ends[file] = with_parquet(path, lambda opened: opened.metadata)
        return with_parquet(
            path,
            lambda opened: opened.read_row_group(group, columns=[self.column]).column(0),
            self._ends.get(file),
        )


def _sizes(paths: Sequence[str | None]) -> str:
    """A digest of the sizes of files; those that are not there, and None, have one of their own."""
    state = hashlib.blake2b(digest_size=16)
    for path in paths:
        try:
            size = -1 if path is None else os.stat(path).st_size
        except (OSError, ValueError):
            size = -1
        state.update(size.to_bytes(8, "little", signed=True))
    return state.hexdigest()


def _all_embedded(group: pq.RowGroupMetaData, column: str) -> bool:
    """Whether the statistics say that no image of a row group is a mere path."""
    for number in range(group.num_columns):
        chunk = group.column(number)
        if chunk.path_in_schema in (column, f"{column}.bytes"):
            return chunk.is_stats_set and chunk.statistics.null_count == 0
    return False


def _size(columns: Any) -> int:
    return int(np.sum([column.nbytes for column in columns]))


class DatasetSource(ImageSource):
    """The image column of a `datasets.Dataset`, cast to ``Image(decode=False)``."""

    def __init__(self, dataset: Any, column: str):
        self.dataset = dataset
        self.column = column

    def read_bytes(self, index: int) -> bytes:
        """The image of a row."""
        return struct_bytes(self._cell(index), "")

    def location(self, index: int) -> str | None:
        """The absolute path where the data set refers to a file, else None."""
        return struct_location(self._cell(index), os.getcwd())

    def _cell(self, index: int) -> Any:
        return self.dataset[index][self.column]
