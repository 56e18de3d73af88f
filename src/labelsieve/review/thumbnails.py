"""Copies of the images for the page: made when asked for, kept on disk, always encoded anew."""

from __future__ import annotations

import io
import logging
import os
import threading
from pathlib import Path

from PIL import Image

from ..core.serialization import atomic_path
from ..data import LabeledImages
from ..data.decode import decode

logger = logging.getLogger(__name__)
SIZES = {"small": 224, "large": 1280}
"""Longest side in pixels."""
PIXELS = 64  # smaller images are sent without loss; the page enlarges them with hard edges


class Thumbnails:
    """JPEG or PNG copies by row and size.

    The bytes of a file are never passed on: they are decoded and encoded again, so that a file
    that is no image cannot reach the browser.

    Parameters
    ----------
    images : LabeledImages
        The images.
    folder : Path
        Where the copies are kept, by image content; copies of changed images are made anew.
    """

    def __init__(self, images: LabeledImages, folder: Path):
        self.images, self.folder = images, folder
        self._busy = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))
        self._writable = True

    def get(self, row: int, size: str) -> bytes:
        """The copy of a row in one of `SIZES`.

        Raises
        ------
        UnreadableImageError
            If the image cannot be read or decoded.
        """
        from ..backbones.cache import image_key

        content = self.images.read_bytes(row)
        key = image_key(content).hex()
        path = self.folder / key[:2] / f"{key}-{size}"
        try:
            return path.read_bytes()
        except OSError:
            pass
        with self._busy:  # decoding takes memory: as many at a time as there are cores
            copy = encode(decode(content), SIZES[size])
        self._keep(path, copy)
        return copy

    def _keep(self, path: Path, copy: bytes) -> None:
        if not self._writable:
            return
        try:
            with atomic_path(path) as partial:
                partial.write_bytes(copy)
        except OSError as error:
            self._writable = False
            logger.warning("thumbnails are not kept: %s", error)


def encode(image: Image.Image, size: int) -> bytes:
    """A copy with the longest side of at most `size` pixels: PNG for tiny images, else JPEG."""
    buffer = io.BytesIO()
    if max(image.size) < PIXELS:
        image.save(buffer, "PNG")
        return buffer.getvalue()
    copy = image.copy()
    copy.thumbnail((size, size), Image.Resampling.LANCZOS, reducing_gap=3.0)
    copy.save(buffer, "JPEG", quality=80 if size <= SIZES["small"] else 88)
    return buffer.getvalue()


def media_type(copy: bytes) -> str:
    """The media type of a copy made by `encode`."""
    return "image/png" if copy.startswith(b"\x89PNG") else "image/jpeg"
