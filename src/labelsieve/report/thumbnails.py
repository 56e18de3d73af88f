"""Small JPEG copies of the worst images, as text that fits into the page."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from typing import Any, Protocol

from PIL import Image

from ..core.exceptions import UnreadableImageError
from ..core.progress import progress

SMALL = 64  # images below this many pixels are kept as they are and enlarged by the browser


class ImageSource(Protocol):
    """The part of `LabeledImages` that the report uses."""

    def __len__(self) -> int: ...

    def image(self, index: int, /) -> Image.Image:
        """The image in a row, as RGB."""
        ...

    def location(self, index: int, /) -> Any:
        """Where the image in a row comes from."""
        ...


def embed_thumbnails(
    images: ImageSource | None, rows: Sequence[int], *, size: int
) -> list[list[Any] | None]:
    """Encode the thumbnails of some rows.

    Parameters
    ----------
    images : ImageSource or None
        None gives no thumbnails.
    rows : sequence of int
        The rows to encode, worst first.
    size : int
        Longest side in pixels.

    Returns
    -------
    list
        One entry a row: ``[base64 JPEG, width, height, is_small]``, or None where the image
        cannot be read. Width and height are those of the original.
    """
    if images is None:
        return []
    return [_thumbnail(images, row, size) for row in progress(rows, desc="thumbnails")]


def _thumbnail(images: ImageSource, row: int, size: int) -> list[Any] | None:
    try:
        image = images.image(row)
    except (UnreadableImageError, OSError):
        return None
    width, height = image.size
    small = max(width, height) < SMALL
    return [encode_jpeg(image, size=size, small=small), width, height, int(small)]


def encode_jpeg(image: Image.Image, *, size: int, small: bool) -> str:
    """Encode one image as base64 JPEG, at most `size` pixels long.

    Small images keep their pixels and nearly all of their detail, since they are enlarged with
    hard edges and every artefact would show.
    """
    copy = image.convert("RGB")
    copy.thumbnail((size, size), Image.Resampling.LANCZOS, reducing_gap=3.0)
    buffer = io.BytesIO()
    if small:
        copy.save(buffer, "JPEG", quality=90, subsampling=0)
    else:
        copy.save(buffer, "JPEG", quality=75, optimize=True)
    return base64.b64encode(buffer.getvalue()).decode("ascii")
