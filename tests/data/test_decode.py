import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from data_helpers import encode, png
from PIL import Image

from labelsieve.core.exceptions import UnreadableImageError
from labelsieve.data import decode as decode_function
from labelsieve.data.decode import MAX_PIXELS, decode


def pixels(data: bytes) -> list:
    image = decode(data)
    assert image.mode == "RGB"
    return np.asarray(image)[..., :].reshape(-1, 3).tolist()


def grey(values, dtype, kind="TIFF") -> list[int]:
    return [p[0] for p in pixels(encode(Image.fromarray(np.array([values], dtype)), kind))]


def test_package_exports_the_function():
    assert decode_function is decode


@pytest.mark.parametrize("kind", ["PNG", "BMP", "GIF", "TIFF", "PPM", "WEBP", "JPEG"])
def test_common_formats_give_their_colour(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    data = encode(Image.new("RGB", (8, 8), (200, 100, 50)), kind, **options)
    assert np.allclose(pixels(data), [200, 100, 50], atol=3 if kind == "JPEG" else 0)


def test_exif_rotation_is_applied():
    image = Image.new("RGB", (2, 1))
    image.putpixel((0, 0), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # the stored left edge is the top
    upright = decode(encode(image, "PNG", exif=exif))
    assert upright.size == (1, 2)
    assert upright.getpixel((0, 0)) == (255, 0, 0)


def test_transparency_is_composited_on_white():
    assert pixels(encode(Image.new("RGBA", (1, 1), (0, 0, 0, 0)))) == [[255, 255, 255]]
    assert pixels(encode(Image.new("LA", (1, 1), (0, 0)))) == [[255, 255, 255]]
    assert pixels(encode(Image.new("RGBA", (1, 1), (0, 0, 0, 51)))) == [[204, 204, 204]]


@pytest.mark.parametrize("transparency", [0, b"\x00\xff"])
def test_palette_transparency_is_composited_on_white(transparency):
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    assert pixels(encode(image, transparency=transparency)) == [[255, 255, 255], [40, 50, 60]]


def test_photos_of_telephones_are_opened_by_a_further_package(monkeypatch):
    """Pillow does not look for it, and nobody could register it from the command line."""
    data = b"\0\0\0\x1cftypheic\0\0\0\0"
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnreadableImageError, match="a HEIC image: pip install pillow-heif"):
        decode(data)
    opened = []

    def open_heif(file, name):
        opened.append(file.read())
        return Image.new("RGB", (1, 1), (7, 8, 9))

    monkeypatch.setitem(sys.modules, "pillow_heif", SimpleNamespace(HeifImageFile=open_heif))
    assert pixels(data) == [[7, 8, 9]]
    assert opened == [data]


def test_first_frame_of_an_animation():
    frames = [Image.new("RGB", (2, 2), colour) for colour in ("red", "blue")]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixels(data)[0] == [255, 0, 0]


def test_cmyk_is_converted():
    data = encode(Image.new("CMYK", (8, 8), (0, 0, 0, 0)), "JPEG")
    assert pixels(data)[0] == [255, 255, 255]


def test_one_bit():
    assert pixels(encode(Image.new("1", (1, 1), 1))) == [[255, 255, 255]]


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_16_bit_grey_is_divided_by_257(kind):
    assert grey([0, 257, 25700, 65535], np.uint16, kind) == [0, 1, 100, 255]


def test_32_bit_integers_in_the_16_bit_range_are_16_bit():
    assert grey([0, 65535], np.int32) == [0, 255]


def test_other_numbers_are_stretched():
    assert grey([-100, 0, 100], np.int32) == [0, 128, 255]
    assert grey([0.0, 0.5, 1.0], np.float32) == [0, 128, 255]
    assert grey([3.0, 3.0], np.float32) == [0, 0]
    assert grey([np.nan, 2.0, 4.0], np.float32) == [0, 0, 255]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "empty file"),
        (b"<html>not an image</html>", "not an image, or of an unknown format"),
        (b"x", "not an image, or of an unknown format"),
        (b"\x89PNG\r\n\x1a\n", "damaged|not an image"),
        (b"\x00" * 100, "not an image"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not an image"),
    ],
)
def test_what_is_no_image_is_unreadable(data, text):
    with pytest.raises(UnreadableImageError, match=text):
        decode(data)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP", "TIFF"])
def test_truncated_files_are_unreadable(kind):
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    data = encode(Image.fromarray(noise), kind)
    with pytest.raises(UnreadableImageError, match=r"damaged|not an image"):
        decode(data[: len(data) // 2])


def bomb(width: int, height: int) -> bytes:
    """A BMP header that promises more pixels than the file has."""
    data = bytearray(encode(Image.new("RGB", (1, 1)), "BMP"))
    data[18:26] = width.to_bytes(4, "little") + height.to_bytes(4, "little")
    return bytes(data)


@pytest.mark.parametrize("side", [14_000, 60_000])
def test_decompression_bombs_are_unreadable(side):
    assert side**2 > MAX_PIXELS
    with pytest.raises(UnreadableImageError, match=f"image too large: {side} x {side} pixels"):
        decode(bomb(side, side))


def test_large_images_below_the_limit_make_no_warning():
    """Pillow alone would warn here, and warnings are errors in the tests."""
    with pytest.raises(UnreadableImageError, match="damaged or truncated image"):
        decode(bomb(10_000, 10_000))


def test_threads_agree():
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda i: decode(png(i)).getpixel((0, 0)), range(64)))
    assert found == [(i, i, i) for i in range(64)]
