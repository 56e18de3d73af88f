"""Arrays of any size: in memory while they are small, in a file of no name when they are not."""

from __future__ import annotations

import os
import tempfile
from typing import Any

import numpy as np
import numpy.typing as npt

SHARE_OF_MEMORY = 1 / 8


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
