"""From a block of images to a committed block of features: one function for every engine."""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from ..backbones import AbstractBackbone, extract_features
from ..core.exceptions import LabelSieveError
from .blocks import Block, Rows
from .ledger import Ledger

log = logging.getLogger(__name__)
BATCH_SIZE = 64
STORAGE = "storage failed"
MOST_FAILED = 0.5
"""A block of which storage denied more than this share is not committed: the storage is down."""


def missing_blocks(blocks: Sequence[Block], ledger: Ledger) -> list[Block]:
    """Blocks that are not committed, or whose images have changed since; these are given up."""
    missing, changed = [], 0
    for block in blocks:
        record = ledger.record(block.number)
        if record is not None and record.get("stamp", "") not in ("", block.stamp()):
            ledger.forget(block.number)
            record, changed = None, changed + 1
        if record is None:
            missing.append(block)
    if changed:
        log.warning("images of %d blocks have changed since; these are encoded again", changed)
    return missing


def encode_block(block: Block, backbone: AbstractBackbone, ledger: Ledger) -> dict[str, Any]:
    """Encode a block and commit it, unless it is committed already.

    The features depend on the block and the model alone: no cache is asked, and batches are cut
    inside the block, so that every run and any number of workers give the same bytes.

    Parameters
    ----------
    block : Block
        What to read.
    backbone : AbstractBackbone
        The image encoder.
    ledger : Ledger
        Where it goes.

    Returns
    -------
    dict
        The record of the block, or ``{"block": number, "failure": text}``.
    """
    found = ledger.record(block.number)
    if found is not None:
        return found
    ledger.note_start(block.number)
    stamp = block.stamp()
    try:
        with block.open() as rows:
            features = extract_features(
                rows, backbone, batch_size=BATCH_SIZE, cache=None, workers=2, show=False
            )
            refused = sum(text.startswith(STORAGE) for text in features.errors.values())
            if refused > MOST_FAILED * len(rows):
                text = next(t for t in features.errors.values() if t.startswith(STORAGE))
                return _failed(block, f"{refused} of {len(rows)} images: {text}")
            table = feature_table(rows, features.features, features.errors)
            about = {
                "labels": dict(Counter("" if label is None else label for label in rows.labels)),
                "unreadable": len(features.errors),
                "refused": refused,
                "truncated": bool(rows.tar and rows.tar.truncated),
                "stamp": stamp,
            }
        return ledger.commit(block.number, table, about)
    except LabelSieveError as error:
        return _failed(block, str(error))
    except OSError as error:
        return _failed(block, f"{ledger.folder}: {error}")


def _failed(block: Block, text: str) -> dict[str, Any]:
    return {"block": block.number, "failure": text, "pid": os.getpid()}


def feature_table(rows: Rows, features: np.ndarray, errors: dict[int, str]) -> pa.Table:
    """A block as it is stored: id, file_name, label, error, features, and offsets in a tar."""
    n, width = features.shape
    error = [errors.get(row) for row in range(n)]
    flat = pa.array(np.ascontiguousarray(features).reshape(-1), pa.float32())
    columns = {
        "id": pa.array(rows.ids, pa.string()),
        "file_name": pa.array(rows.file_names, pa.string()),
        "label": pa.array(rows.labels, pa.string()),
        "error": pa.array(error, pa.string()),
        "features": pa.FixedSizeListArray.from_arrays(flat, width),
    }
    if rows.tar is not None:
        columns["offset"] = pa.array(rows.tar.offsets, pa.int64())
        columns["size"] = pa.array(rows.tar.sizes, pa.int64())
    return pa.table(columns)


def features_of(table: pa.Table) -> np.ndarray:
    """The features of a stored block, shape (N, D), float32."""
    column = table["features"].combine_chunks()
    width = table.schema.field("features").type.list_size
    values = column.flatten() if isinstance(column, pa.Array) else column.chunk(0).flatten()
    return values.to_numpy(zero_copy_only=False).reshape(-1, width)
