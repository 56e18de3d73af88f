"""Committed blocks put together: counted, checked against their hashes, ids all different."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import numpy as np
from pandas.util import hash_array
from PIL import Image

from ..backbones import ImageFeatures
from ..core.arrays import zeros
from ..core.exceptions import InputError
from ..data import LabeledImages
from ..data.decode import decode
from ..data.listing import ReadOptions, assemble
from ..data.webdataset import TarRows, TarSource, listing_of, repeated_ids, truncation_notes
from .blocks import Block, TarBlock
from .encode import features_of
from .ledger import Ledger

SHOWN = 5


@dataclass
class Gathered:
    """Blocks of features, all committed.

    Attributes
    ----------
    ledger : Ledger
    records : list of dict
        One a block, in order.
    blocks : sequence of Block
    """

    ledger: Ledger
    records: list[dict[str, Any]]
    blocks: Sequence[Block]
    starts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        sizes = [record["rows"] for record in self.records]
        self.starts = np.concatenate([[0], np.cumsum(sizes)]).tolist()

    @property
    def n_rows(self) -> int:
        """Rows of all blocks."""
        return self.starts[-1]

    @property
    def label_counts(self) -> Counter[str]:
        """Rows by label cell; "" is none."""
        counts: Counter[str] = Counter()
        for record in self.records:
            counts.update(record["labels"])
        return counts

    @property
    def shards(self) -> list[str]:
        """The tar shards; none where the rows were listed by the driver."""
        return [block.shard for block in self.blocks if isinstance(block, TarBlock)]

    def notes(self) -> tuple[str, ...]:
        """What to tell of truncated shards and of images that storage refused."""
        notes = []
        for block, record in zip(self.blocks, self.records, strict=True):
            if record["truncated"] and isinstance(block, TarBlock):
                part = TarRows(keys=[""] * record["rows"], truncated=True)
                notes += truncation_notes([block.shard], [part])
        refused = sum(record["refused"] for record in self.records)
        if refused:
            notes.append(
                f"{refused:,} images could not be fetched although storage was asked again and "
                "again; they are unreadable rows, and --force would try once more"
            )
        return tuple(notes)

    def check_ids(self, images: LabeledImages | None) -> None:
        """Refuse ids that occur in two blocks, with 8 bytes of memory a row.

        Raises
        ------
        InputError
            If an id occurs twice, or rows are missing.
        """
        if images is not None and self.n_rows != len(images):
            raise InputError(
                f"{len(images):,} images were listed, but the blocks hold {self.n_rows:,} rows; "
                "add --force to begin anew"
            )
        hashes = np.concatenate(
            [_hashes(self.ledger.read(r, ["id"])["id"].to_pylist()) for r in self.records]
        )
        order = np.argsort(hashes, kind="stable")
        same = np.flatnonzero(hashes[order][1:] == hashes[order][:-1])
        rows = np.unique(np.concatenate([order[same], order[same + 1]]))
        seen: dict[str, int] = {}
        repeated = []
        for row in rows.tolist():
            key, block = self._id(row)
            if key in seen:
                repeated.append((key, seen[key], block))
            seen.setdefault(key, block)
        if repeated:
            key, first, second = repeated[0]
            raise repeated_ids(key, self._name(first), self._name(second), len(repeated))

    def _id(self, row: int) -> tuple[str, int]:
        block = int(np.searchsorted(self.starts, row, side="right")) - 1
        table = self.ledger.read(self.records[block], ["id"])
        return table["id"][row - self.starts[block]].as_py(), block

    def _name(self, block: int) -> str:
        shards = self.shards
        return shards[block] if shards else f"block {block}"

    def images(self, options: ReadOptions) -> LabeledImages:
        """The rows of tar shards as one data set, as `load_images` would list them."""
        parts = []
        for record in self.records:
            table = self.ledger.read(record, ["id", "file_name", "label", "offset", "size"])
            lists = [table[name].to_pylist() for name in table.column_names]
            parts.append(TarRows(*lists, truncated=record["truncated"]))
        return assemble(listing_of(self.shards, parts, options), options)

    def features(self) -> ImageFeatures:
        """All features, in input order: block by block, and in a file where they are large."""
        width = features_of(self.ledger.read(self.records[0], ["features"])).shape[1]
        features, errors = zeros((self.n_rows, width)), {}
        for start, record in zip(self.starts, self.records, strict=False):
            table = self.ledger.read(record, ["features", "error"])
            features[start : start + table.num_rows] = features_of(table)
            for row, text in enumerate(table["error"].to_pylist()):
                if text is not None:
                    errors[start + row] = text
        return ImageFeatures(features, errors)


class TarImages:
    """The images of committed tar shards by row, for a few of them; the report's source.

    Parameters
    ----------
    found : Gathered
        Blocks of tar shards.
    """

    def __init__(self, found: Gathered):
        self.found = found
        self._table = lru_cache(maxsize=4)(self._read)

    def __len__(self) -> int:
        return self.found.n_rows

    def image(self, index: int) -> Image.Image:
        """The image in a row, as RGB."""
        block = int(np.searchsorted(self.found.starts, index, side="right")) - 1
        offsets, sizes = self._table(block)
        source = TarSource([self.found.shards[block]], np.zeros(len(sizes), int), offsets, sizes)
        return decode(source.read_bytes(index - self.found.starts[block]))

    def location(self, index: int) -> None:
        """Always None: the images are embedded."""

    def _read(self, block: int) -> tuple[np.ndarray, np.ndarray]:
        table = self.found.ledger.read(self.found.records[block], ["offset", "size"])
        return table["offset"].to_numpy(), table["size"].to_numpy()


def complete(
    ledger: Ledger, blocks: Sequence[Block], failures: dict[int, str]
) -> list[dict[str, Any]]:
    """The records of all blocks.

    Raises
    ------
    InputError
        If a block is missing: nothing is left out silently.
    """
    records = [ledger.record(block.number) for block in blocks]
    missing = [n for n, record in enumerate(records) if record is None]
    if missing:
        shown = [f"block {n}: {failures.get(n, 'not computed')}" for n in missing[:SHOWN]]
        more = f"\n- and {len(missing) - SHOWN} more" if len(missing) > SHOWN else ""
        raise InputError(
            f"{len(missing)} of {len(blocks)} blocks could not be computed; the others are kept, "
            "and the same command tries these again:\n- " + "\n- ".join(shown) + more
        )
    return [record for record in records if record is not None]


def _hashes(ids: list[str]) -> np.ndarray:
    return np.asarray(hash_array(np.array(ids, dtype=object), categorize=False))  # type: ignore[operator]
