"""A stratified, seeded subset of blocks of features: what a detector is fitted to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ..core.arrays import zeros
from ..core.validation import FloatArray, IntArray
from ..data import LabeledImages
from ..data.webdataset import TarSource
from ..selection.subset import quotas
from .encode import features_of
from .gather import Gathered


@dataclass(frozen=True)
class Drawn:
    """The subset, in input order.

    Attributes
    ----------
    rows : ndarray of int64, shape (M,)
        Positions in the input.
    features : ndarray of float32, shape (M, D)
    """

    rows: IntArray
    features: FloatArray


def draw(found: Gathered, codes: dict[str, int], n_classes: int, n: int, seed: int) -> Drawn:
    """Draw about `n` readable, labelled rows, each class in proportion to its size.

    Every row has a priority that depends on the seed, its block and its place in it; of each
    class those with the lowest are taken. A subset that is large lies in a file, see `core.arrays`.

    Parameters
    ----------
    found : Gathered
        All blocks.
    codes : dict of str to int
        Label cell to class index.
    n_classes, n, seed : int
    """
    usable = _usable_counts(found, codes, n_classes)
    quota = quotas(usable, n)
    chosen = _choose(found, codes, quota, seed)
    wanted = np.sort(chosen)
    width = features_of(found.ledger.read(found.records[0], ["features"])).shape[1]
    features = zeros((len(wanted), width))
    for start, record in zip(found.starts, found.records, strict=False):
        inside = (wanted >= start) & (wanted < start + record["rows"])
        if inside.any():
            block = features_of(found.ledger.read(record, ["features"]))
            features[inside] = block[wanted[inside] - start]
    return Drawn(wanted, features)


def subset_images(
    found: Gathered,
    images: LabeledImages | None,
    rows: np.ndarray,
    names: tuple[str, ...],
    words: tuple[str, ...],
    codes: dict[str, int],
) -> LabeledImages:
    """The drawn rows as a data set of their own."""
    if images is not None:
        return images.subset(rows)
    columns = ["id", "file_name", "label", "offset", "size"]
    parts, shard = [], []
    for block, (start, record) in enumerate(zip(found.starts, found.records, strict=False)):
        inside = rows[(rows >= start) & (rows < start + record["rows"])] - start
        if len(inside):
            parts.append(found.ledger.read(record, columns).take(pa.array(inside)))
            shard += [block] * len(inside)
    table = pa.concat_tables(parts)
    ids, files, labels, offsets, sizes = (table[name].to_pylist() for name in columns)
    return LabeledImages(
        ids=np.array(ids, dtype=object),
        file_names=np.array(files, dtype=object),
        given_labels=np.array([codes[label] for label in labels]),
        class_names=names,
        source=TarSource(found.shards, np.array(shard), np.array(offsets), np.array(sizes)),
        rule=f"a stratified subset of {len(found.shards)} WebDataset tar shards",
        prompt_names=words,
    )


def class_of_rows(labels: list[str | None], codes: dict[str, int]) -> IntArray:
    """Class indices (N,) of label cells, -1 where there is none."""
    return np.array([codes.get(label or "", -1) for label in labels], dtype=np.int64)


def _usable_rows(found: Gathered, record: dict, codes: dict[str, int]) -> IntArray:
    """The class of each row of a block, -1 where it cannot be used."""
    table = found.ledger.read(record, ["label", "error"])
    given = class_of_rows(table["label"].to_pylist(), codes)
    return np.where(np.array(table["error"].is_null()), given, -1)


def _usable_counts(found: Gathered, codes: dict[str, int], n_classes: int) -> IntArray:
    counts = np.zeros(n_classes, dtype=np.int64)
    for record in found.records:
        given = _usable_rows(found, record, codes)
        counts += np.bincount(given[given >= 0], minlength=n_classes)
    return counts


def _choose(found: Gathered, codes: dict[str, int], quota: IntArray, seed: int) -> IntArray:
    """Rows with the lowest priorities of each class; only candidates are kept in between."""
    rows, classes = np.empty(0, np.int64), np.empty(0, np.int64)
    priorities = np.empty(0)
    for start, record in zip(found.starts, found.records, strict=False):
        given = _usable_rows(found, record, codes)
        usable = np.flatnonzero(given >= 0)
        drawn = np.random.default_rng([seed, record["block"]]).random(len(given))[usable]
        rows = np.concatenate([rows, start + usable])
        classes = np.concatenate([classes, given[usable]])
        priorities = np.concatenate([priorities, drawn])
        order = np.lexsort((priorities, classes))
        first = np.searchsorted(classes[order], np.arange(len(quota)))
        place = np.arange(len(order)) - first[classes[order]]
        kept = order[place < quota[classes[order]]]
        rows, classes, priorities = rows[kept], classes[kept], priorities[kept]
    return rows
