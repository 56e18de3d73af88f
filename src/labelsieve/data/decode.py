"""From the bytes of an image file to an 8-bit RGB image: one documented rule for every mode."""

from __future__ import annotations

import struct
from io import BytesIO
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from ..core.exceptions import UnreadableImageError

MAX_PIXELS = 178_956_970
"""Largest width times height that is decoded (Pillow's own error limit); more is unreadable."""

FORMATS = (
    *("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF"),
    *("PPM", "DIB", "AVIF", "JPEG2000", "ICO", "PCX"),
)
"""Formats that are tried, common ones first. EPS and its like, which start programs, are not."""

HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")
"""What the photos of telephones are called in their first bytes."""


def decode(data: bytes, *, least_side: int | None = None) -> Image.Image:
    """Decode an image file into an upright 8-bit RGB image.

    The rule: the first frame of an animation; the EXIF rotation is applied; palettes and
    transparency are composited on white; CMYK is converted by Pillow, which undoes Adobe's
    inversion; 16-bit grey is divided by 257; 32-bit integer grey within 0..65535 is treated as
    16-bit, other integer and all float grey is stretched from its minimum..maximum to 0..255
    (a constant image becomes black, NaN counts as the minimum); everything else goes through
    Pillow's conversion to RGB. Safe to call from many threads; no state of Pillow is touched.

    Parameters
    ----------
    data : bytes
        The whole file.
    least_side : int, optional
        Allows a JPEG to be decoded at a half, a quarter or an eighth of its size (several times
        faster) where both sides keep that many pixels and are multiples of the factor.

    Returns
    -------
    PIL.Image.Image
        Mode "RGB", in memory, with no open file.

    Raises
    ------
    UnreadableImageError
        If the data are empty, truncated, no image, or larger than `MAX_PIXELS`.

    Examples
    --------
    >>> buffer = BytesIO()
    >>> Image.new("L", (3, 2), 7).save(buffer, "PNG")
    >>> image = decode(buffer.getvalue())
    >>> image.mode, image.size, image.getpixel((0, 0))
    ('RGB', (3, 2), (7, 7, 7))
    """
    if not data:
        raise UnreadableImageError("empty file")
    try:
        with _open(data) as image:
            _check_size(image)
            if least_side is not None and image.format in ("JPEG", "MPO"):
                _reduce(image, least_side)
            image.load()
            return _to_rgb(_upright(image))
    except UnreadableImageError:
        raise
    except MemoryError as error:
        raise UnreadableImageError("damaged image: needs too much memory") from error
    except Exception as error:  # Pillow's readers raise nearly anything on damaged data
        text = " ".join(str(error).split())[:120] or type(error).__name__
        raise UnreadableImageError(f"damaged or truncated image: {text}") from error


def _open(data: bytes) -> Image.Image:
    """Open with the first format that accepts the data.

    `Image.open` does the same, but warns about large images, and warnings can be neither
    silenced nor counted safely from several threads; here the size is checked by ourselves.
    """
    Image.init()
    prefix = data[:16]
    for name in FORMATS:
        factory, accept = Image.OPEN.get(name, (None, None))
        if factory is None:
            continue
        try:
            if accept is not None and accept(prefix) is not True:
                continue
            return factory(BytesIO(data), "")
        except (SyntaxError, IndexError, TypeError, struct.error):
            continue
    if data[4:8] == b"ftyp" and data[8:12] in HEIF_BRANDS:
        return _open_heif(data)
    raise UnreadableImageError("not an image, or of an unknown format")


def _open_heif(data: bytes) -> Image.Image:
    """Open with a package that Pillow itself does not look for."""
    try:
        from pillow_heif import HeifImageFile  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise UnreadableImageError("a HEIC image: pip install pillow-heif to read it") from error
    return HeifImageFile(BytesIO(data), "")


def _check_size(image: Image.Image) -> None:
    """Refuse images without pixels and decompression bombs, from the header alone."""
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise UnreadableImageError(
            f"image too large: {width} x {height} pixels; at most {MAX_PIXELS:,} are decoded"
        )
    if width * height == 0:
        raise UnreadableImageError("image without pixels")


def _reduce(image: Image.Image, least_side: int) -> None:
    """Let a JPEG be decoded smaller where both sides are multiples of the factor.

    Otherwise the reduced image would cover a little more than the whole one, which shows.
    """
    width, height = image.size
    for factor in (8, 4, 2):
        exact = width % factor == 0 == height % factor
        if exact and min(width, height) // factor >= least_side:
            image.draft(None, (width // factor, height // factor))
            return


def _upright(image: Image.Image) -> Image.Image:
    """Apply the EXIF rotation; damaged EXIF data mean no rotation."""
    try:
        return ImageOps.exif_transpose(image)
    except Exception:  # whatever is wrong with the tags, the pixels are fine
        return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode.startswith("I") or image.mode == "F":
        return Image.fromarray(_to_8_bit(np.asarray(image), image.mode)).convert("RGB")
    if image.has_transparency_data or image.mode in ("La", "RGBa"):
        opaque = Image.new("RGBA", image.size, (255, 255, 255, 255))
        opaque.alpha_composite(image.convert("RGBA"))
        return opaque.convert("RGB")
    return image.convert("RGB")


def _to_8_bit(values: np.ndarray[Any, Any], mode: str) -> np.ndarray[Any, Any]:
    """Grey values of more than 8 bits, shape (H, W), as uint8."""
    grey = values.astype(np.float64)
    finite = np.isfinite(grey)
    low = grey[finite].min() if finite.any() else 0.0
    high = grey[finite].max() if finite.any() else 0.0
    if mode != "F" and low >= 0 and high <= 65535:
        return np.rint(grey / 257).astype(np.uint8)
    grey = np.nan_to_num(grey, nan=low, posinf=high, neginf=low)
    return np.rint((grey - low) / (high - low or 1.0) * 255).astype(np.uint8)
