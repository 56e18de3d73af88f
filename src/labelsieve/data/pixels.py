"""Raw pixels as vectors, a chunk of images at a time."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import numpy.typing as npt
from PIL import Image

from ..core.exceptions import UnreadableImageError
from ..core.progress import progress
from ..core.validation import IntArray
from .images import LabeledImages

CHUNK_ROWS = 256
"""Images whose pixels are in memory at a time."""

MAX_SIDE = 64
"""The longest side of `common_size`."""

WORKERS = 2
"""Threads that decode."""


def common_size(images: LabeledImages, rows: IntArray) -> tuple[int, int] | None:
    """Width and height of the first image of `rows` that can be read; None if there is none.

    A larger image counts as scaled down to `MAX_SIDE`, both sides by the same factor.
    """
    for row in rows:
        try:
            width, height = images.image(int(row)).size
        except UnreadableImageError:
            continue
        shrink = min(1, MAX_SIDE / max(width, height))
        return max(1, round(width * shrink)), max(1, round(height * shrink))
    return None


def pixel_chunks(
    images: LabeledImages, rows: IntArray, size: tuple[int, int]
) -> Iterator[tuple[IntArray, npt.NDArray[np.uint8]]]:
    """Pixels of the images of `rows`, in their order; unreadable ones are left out.

    Parameters
    ----------
    images : LabeledImages
    rows : ndarray of int, shape (M,)
    size : tuple of int
        Width and height; images of another size are resized (bicubic).

    Yields
    ------
    rows : ndarray of int, shape (B,)
        B is in 1..`CHUNK_ROWS`.
    pixels : ndarray of uint8, shape (B, 3 * height * width)
        Flattened channel-first.
    """
    with ThreadPoolExecutor(WORKERS, thread_name_prefix="labelsieve-pixels") as pool:
        for start in progress(range(0, len(rows), CHUNK_ROWS), desc="pixels", unit="chunk"):
            chunk = rows[start : start + CHUNK_ROWS]
            found = list(pool.map(partial(_pixels, images, size=size), chunk.tolist()))
            readable = [i for i, one in enumerate(found) if one is not None]
            if readable:
                yield chunk[readable], np.stack([one for one in found if one is not None])


def _pixels(images: LabeledImages, row: int, size: tuple[int, int]) -> npt.NDArray[np.uint8] | None:
    """The pixels of one image, shape (D,); None if it is unreadable."""
    try:
        image = images.image(row)
    except UnreadableImageError:
        return None
    if image.size != size:
        image = image.resize(size, Image.Resampling.BICUBIC)
    return np.asarray(image).transpose(2, 0, 1).ravel()
