"""Blocks: fixed pieces of the input, each computed by one call wherever that runs."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.exceptions import InputError, StorageError, UnreadableImageError
from ..data import LabeledImages
from ..data.sources import ImageSource
from ..data.storage import is_url
from ..data.webdataset import TarRows, TarSource, list_tar, local_copy


@dataclass(frozen=True, eq=False)
class Rows:
    """The rows of a block, as `extract_features` takes them.

    Attributes
    ----------
    ids, file_names : sequence of str, length N
    labels : sequence of str or None
        Class names, or label cells where the class order is not known yet.
    source : ImageSource
    tar : TarRows or None
        Where the images lie, for rows of a tar shard.
    """

    ids: Sequence[str]
    file_names: Sequence[str]
    labels: Sequence[str | None]
    source: ImageSource
    tar: TarRows | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def read_bytes(self, row: int) -> bytes:
        """The encoded image of a row."""
        return self.source.read_bytes(row)


@dataclass(frozen=True, eq=False)
class ListedBlock:
    """Rows that the driver has listed.

    Attributes
    ----------
    number : int
        Position among the blocks.
    images : LabeledImages
        The rows.
    """

    number: int
    images: LabeledImages

    @property
    def identity(self) -> str:
        """What the block is, for the plan: a digest of ids and labels, which it holds as names."""
        state = hashlib.blake2b(digest_size=16)
        for row, label in zip(self.images.ids, self._labels(), strict=True):
            state.update(f"{row}\0{label}\n".encode("utf-8", "surrogatepass"))
        return state.hexdigest()

    def stamp(self) -> str:
        """What tells that the images have changed, as far as that is at hand."""
        return self.images.source.stamp()

    @contextmanager
    def open(self) -> Iterator[Rows]:
        """The rows, ready to be read."""
        images = self.images
        yield Rows(images.ids.tolist(), images.file_names.tolist(), self._labels(), images.source)

    def _labels(self) -> list[str | None]:
        names = [*self.images.class_names, None]
        return [names[label] for label in self.images.given_labels]


@dataclass(frozen=True)
class TarBlock:
    """One tar shard, which is listed where it is computed.

    Attributes
    ----------
    number : int
        Position among the blocks.
    shard : str
        Path or URL.
    """

    number: int
    shard: str

    @property
    def identity(self) -> str:
        """What the block is, for the plan: its name, and its size where that is at hand."""
        size = "" if is_url(self.shard) else os.path.getsize(self.shard)
        return f"{self.shard} {size}"

    def stamp(self) -> str:
        """Nothing: a shard of another size is another plan already."""
        return ""

    @contextmanager
    def open(self) -> Iterator[Rows]:
        """List the shard, fetched to this machine where it is remote."""
        try:
            with local_copy(self.shard) as path:
                tar = list_tar(path, self.shard)
                zeros = np.zeros(len(tar.keys), dtype=np.int64)
                source = TarSource([path], zeros, np.array(tar.offsets), np.array(tar.sizes))
                yield Rows(tar.keys, tar.names, tar.labels, source, tar)
        except StorageError:
            raise
        except UnreadableImageError as error:
            raise InputError(f"tar shard cannot be read: {error}") from error


Block = ListedBlock | TarBlock


def blocks_of_images(images: LabeledImages, block_rows: int) -> list[Block]:
    """Consecutive slices of at most `block_rows` rows."""
    starts = range(0, len(images), block_rows)
    return [
        ListedBlock(number, images.subset(np.arange(start, min(start + block_rows, len(images)))))
        for number, start in enumerate(starts)
    ]


def plan_digest(blocks: Sequence[Block], *settings: Any) -> str:
    """A digest of what is to be computed: equal plans give equal bytes."""
    state = hashlib.blake2b(digest_size=16)
    for part in (*map(str, settings), *(block.identity for block in blocks)):
        state.update(part.encode("utf-8", "surrogatepass") + b"\n")
    return state.hexdigest()
