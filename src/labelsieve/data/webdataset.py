"""WebDataset: tar shards whose members share a key, ``dog/0001.jpg`` and ``dog/0001.cls``."""

from __future__ import annotations

import json
import os
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..core.exceptions import InputError, UnreadableImageError
from ..core.validation import IntArray
from .folders import EXTENSIONS, split_name
from .listing import Listing, ReadOptions
from .remote import spec_beside
from .sources import ImageSource
from .storage import download, is_url, read

LABEL_FIELDS = ("cls", "label")
JSON_KEYS = ("label", "class", "cls")
LARGEST_LABEL = 1 << 20


@dataclass
class TarRows:
    """The samples of a tar shard, in its order.

    Attributes
    ----------
    keys : list of str
        Path up to the first dot of the base name; the id.
    names : list of str
        Member that holds the image, else the key.
    labels : list of str or None
        Content of ``.cls``, ``.label`` or the key "label" of ``.json``; None where there is none.
    offsets, sizes : list of int
        Where the image lies in the file; size -1 where the sample has no image.
    truncated : bool
        Whether the file ends before the archive does.
    """

    keys: list[str] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    labels: list[str | None] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    truncated: bool = False


class TarSource(ImageSource):
    """Images inside tar shards, each read by its range of bytes.

    Parameters
    ----------
    shards : sequence of str
        Paths or URLs.
    shard, offsets, sizes : ndarray of int64, shape (N,)
        Which shard, first byte, number of bytes (-1: the sample has no image).
    """

    def __init__(self, shards: Sequence[str], shard: IntArray, offsets: IntArray, sizes: IntArray):
        self.shards = list(shards)
        self.shard, self.offsets, self.sizes = shard, offsets, sizes

    def read_bytes(self, index: int) -> bytes:
        """The image of a row."""
        size, start = int(self.sizes[index]), int(self.offsets[index])
        if size < 0:
            raise UnreadableImageError("no image given")
        name = self.shards[int(self.shard[index])]
        if is_url(name):
            return read(name, start=start, size=size)
        try:
            with open(name, "rb") as file:
                file.seek(start)
                content = file.read(size)
        except OSError as error:
            raise UnreadableImageError(f"tar shard cannot be read: {error.strerror}") from error
        if len(content) != size:
            raise UnreadableImageError(f"the tar shard ends inside this image: {name}")
        return content

    def location(self, index: int) -> str | None:
        """Always None: the images are embedded."""
        return None


def read_tars(shards: Sequence[str], options: ReadOptions) -> Listing:
    """List tar shards, local or by URL; the keys are the ids.

    A remote shard is downloaded once to be listed, and its images are read by range later.

    Raises
    ------
    InputError
        If a shard is no tar file, or an id occurs twice.
    """
    parts = []
    for shard in shards:
        with local_copy(shard) as path:
            parts.append(list_tar(path, shard))
    return listing_of(shards, parts, options)


def listing_of(shards: Sequence[str], parts: Sequence[TarRows], options: ReadOptions) -> Listing:
    """One listing of shards that were listed one by one."""
    keys = [key for part in parts for key in part.keys]
    number = np.repeat(np.arange(len(parts)), [len(part.keys) for part in parts])
    _check_keys(keys, number, shards)
    folder, first = os.path.split(shards[0])
    if split_name(os.path.basename(folder)):
        first = f"{os.path.basename(folder)}/{first}"
    more = f" and {len(shards) - 1} more" if len(shards) > 1 else ""
    return Listing(
        file_names=[name for part in parts for name in part.names],
        labels=np.array([label for part in parts for label in part.labels], dtype=object),
        source=TarSource(
            shards,
            number,
            np.array([o for part in parts for o in part.offsets], dtype=np.int64),
            np.array([s for part in parts for s in part.sizes], dtype=np.int64),
        ),
        rule=f"WebDataset tar shards {first}{more}: labels from .cls",
        where=str(shards[0]),
        ids=keys,
        spec=spec_beside(shards[0]),
        notes=truncation_notes(shards, parts),
    )


def truncation_notes(shards: Sequence[str], parts: Sequence[Any]) -> tuple[str, ...]:
    """A note for every shard whose file ends before its archive does."""
    return tuple(
        f"tar shard {shard} is TRUNCATED after {len(part.keys):,} samples: what came after is not "
        "in the result; fetch the shard again and repeat the scan"
        for shard, part in zip(shards, parts, strict=True)
        if part.truncated
    )


def list_tar(path: str | os.PathLike[str], name: str) -> TarRows:
    """The samples of a local tar file; `name` is what errors call it.

    Raises
    ------
    InputError
        If it is no uncompressed tar file.
    """
    rows = TarRows()
    try:
        size = os.path.getsize(path)
        with tarfile.open(path, "r:") as archive:
            for key, members in _samples(archive, rows, size):
                _add(rows, archive, key, members, size)
    except (tarfile.TarError, OSError) as error:
        raise InputError(
            f"{name} cannot be read as an uncompressed tar file: {error}; fetch it again, unpack a "
            "compressed one, or leave it out"
        ) from error
    return rows


class local_copy:
    """A context with a local path of a file: itself, or a temporary download of a URL."""

    def __init__(self, name: str):
        self.name = name
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def __enter__(self) -> str:
        if not is_url(self.name):
            return self.name
        self._folder = tempfile.TemporaryDirectory(prefix="labelsieve-")
        target = os.path.join(self._folder.name, "shard.tar")
        try:
            download(self.name, target)
        except BaseException:
            self._folder.cleanup()
            raise
        return target

    def __exit__(self, *_: object) -> None:
        if self._folder is not None:
            self._folder.cleanup()


def _samples(
    archive: tarfile.TarFile, rows: TarRows, size: int
) -> Iterator[tuple[str, dict[str, tarfile.TarInfo]]]:
    """Members that follow each other with one key; marks the rows as truncated where they are."""
    key, members = "", {}
    while True:
        try:
            member = archive.next()
        except tarfile.TarError as error:
            if not rows.keys and not members:
                raise
            rows.truncated = "unexpected end" in str(error) or "truncated" in str(error)
            if not rows.truncated:
                raise
            member = None
        if member is None:
            break
        if not member.isfile():
            continue
        rows.truncated |= member.offset_data + member.size > size
        folder, base = os.path.split(member.name)
        stem, _, extension = base.partition(".")
        if not stem or not extension:  # macOS's "._0001.jpg", a README: of no sample
            continue
        found = f"{folder}/{stem}" if folder else stem
        if found != key and members:
            yield key, members
            members = {}
        key = found
        members.setdefault(extension.lower(), member)
    if members:
        yield key, members
    # `tarfile` ends quietly at a header that is cut off; a whole archive ends with zeros.
    archive.fileobj.seek(archive.offset)  # type: ignore[union-attr]
    rows.truncated |= archive.fileobj.read(512) != bytes(512)  # type: ignore[union-attr]


def _add(
    rows: TarRows,
    archive: tarfile.TarFile,
    key: str,
    members: dict[str, tarfile.TarInfo],
    size: int,
) -> None:
    endings = [e for e in members if f".{e.rpartition('.')[2]}" in EXTENSIONS]
    # "0001.jpg" is the image, whatever else there is, such as "0001.depth.png".
    image = members[min(endings, key=lambda e: e.count("."))] if endings else None
    rows.keys.append(key)
    rows.names.append(key if image is None else image.name)
    rows.offsets.append(0 if image is None else image.offset_data)
    rows.sizes.append(-1 if image is None else image.size)
    rows.labels.append(_label(archive, members, size))


def _label(archive: tarfile.TarFile, members: dict[str, tarfile.TarInfo], size: int) -> str | None:
    """The label of a sample as text; None where there is none or it was cut off."""

    def content(field: str) -> str | None:
        member = members.get(field)
        if member is None or member.size > LARGEST_LABEL:
            return None
        if member.offset_data + member.size > size:
            return None
        file = archive.extractfile(member)
        return None if file is None else file.read().decode("utf-8", "backslashreplace").strip()

    for name in LABEL_FIELDS:
        text = content(name)
        if text:
            return text
    text = content("json")
    try:
        record = json.loads(text) if text else None
    except ValueError:
        return None
    if not isinstance(record, dict):
        return None
    return next((str(record[k]) for k in JSON_KEYS if record.get(k) is not None), None)


def _check_keys(keys: Sequence[str], number: IntArray, shards: Sequence[str]) -> None:
    """Refuse ids that occur twice, with the shards that hold them."""
    if len(set(keys)) == len(keys):
        return
    seen: dict[str, int] = {}
    repeated = []
    for key, shard in zip(keys, number.tolist(), strict=True):
        if key in seen:
            repeated.append((key, seen[key], shard))
        seen.setdefault(key, shard)
    key, first, second = repeated[0]
    raise repeated_ids(key, str(shards[first]), str(shards[second]), len(repeated))


def repeated_ids(key: str, first: str, second: str, n: int) -> InputError:
    """The error about ids that two shards (or one) hold."""
    where = f"{first} twice" if first == second else f"{first} and {second}"
    return InputError(
        f"{n:,} ids occur more than once, such as {key!r} in {where}; ids name the rows of the "
        "result, so leave one of the shards out or give its samples other keys"
    )
