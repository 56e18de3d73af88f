"""Arrays of any size: in memory while they are small, in a file of no name when they are not."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt

SHARE_OF_MEMORY = 1 / 8
CACHED = 1 << 20
"""Bytes of a chunk of rows that several passes find in the processor's cache."""


def large_bytes() -> int:
    """From how many bytes on an array is kept in a file: an eighth of the machine's memory."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not every system tells
        total = 8 << 30
    return int(total * SHARE_OF_MEMORY)


def zeros(shape: tuple[int, ...], dtype: Any = np.float32) -> npt.NDArray[Any]:
    """An array of zeros; a large one is memory-mapped, so that the system may move it to disk.

    The file has no name and vanishes with the array. It lies where TMPDIR says.

    Examples
    --------
    >>> zeros((2, 3)).tolist()
    [[0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    """
    size = int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if size <= large_bytes():
        return np.zeros(shape, dtype=dtype)
    with tempfile.TemporaryFile() as file:
        return np.memmap(file, dtype=dtype, mode="w+", shape=shape)


def take(array: npt.NDArray[Any], rows: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The given rows of a matrix, in a file of no name where they are large.

    Examples
    --------
    >>> take(np.eye(3), np.array([2, 0])).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    taken = zeros((len(rows), array.shape[1]), array.dtype)
    for part in chunks(*taken.shape):
        taken[part] = array[rows[part]]
    return taken


def probabilities(n_rows: int, n_classes: int) -> npt.NDArray[Any]:
    """Zeros (N, K) for class probabilities: float64, or float32 in a file where they are many."""
    if 8 * n_rows * n_classes <= large_bytes():
        return np.zeros((n_rows, n_classes))
    return zeros((n_rows, n_classes), np.float32)


def chunks(n_rows: int, n_columns: int, n_bytes: int = 1 << 28) -> list[slice]:
    """Consecutive rows whose float64 entries take about `n_bytes` a chunk.

    Examples
    --------
    >>> chunks(10, 4, n_bytes=128)
    [slice(0, 4, None), slice(4, 8, None), slice(8, 10, None)]
    """
    step = max(1, n_bytes // (8 * max(n_columns, 1)))
    return [slice(i, min(i + step, n_rows)) for i in range(0, n_rows, step)]
