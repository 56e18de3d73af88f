import numpy as np
import pytest
from data_helpers import encode
from PIL import Image

from labelsieve.data import LabeledImages
from labelsieve.data.pixels import common_size, pixel_chunks
from labelsieve.data.sources import FileSource

RNG = np.random.default_rng(0)


def make_images(folder, arrays):
    """Images of uint8 arrays (H, W, 3); None is a damaged file."""
    names = [f"{row}.png" for row in range(len(arrays))]
    for name, array in zip(names, arrays, strict=True):
        (folder / name).write_bytes(b"x" if array is None else encode(Image.fromarray(array)))
    return LabeledImages(
        ids=np.array(names, dtype=object),
        file_names=np.array(names, dtype=object),
        given_labels=np.zeros(len(names), dtype=int),
        class_names=("a", "b"),
        source=FileSource(folder, names),
        rule="made",
    )


def pixels(*shape):
    return RNG.integers(0, 256, (*shape, 3), dtype=np.uint8)


def test_chunks_are_channel_first_in_order_without_the_unreadable(tmp_path, monkeypatch):
    monkeypatch.setattr("labelsieve.data.pixels.CHUNK_ROWS", 2)
    arrays = [pixels(2, 3) for _ in range(7)]
    arrays[1] = arrays[4] = arrays[6] = None
    images = make_images(tmp_path, arrays)
    chunks = list(pixel_chunks(images, np.array([5, 4, 1, 6, 0, 3, 2]), (3, 2)))
    assert [rows.tolist() for rows, _ in chunks] == [[5], [0, 3], [2]]
    for rows, found in chunks:
        assert found.shape == (len(rows), 18)
        for row, one in zip(rows, found, strict=True):
            assert np.array_equal(one.reshape(3, 2, 3), arrays[row].transpose(2, 0, 1))


def test_other_sizes_are_resized(tmp_path):
    images = make_images(tmp_path, [pixels(2, 3), np.full((9, 4, 3), 77, np.uint8)])
    ((_, found),) = pixel_chunks(images, np.arange(2), (3, 2))
    assert found.shape == (2, 18)
    assert (found[1] == 77).all()


@pytest.mark.parametrize(
    ("shape", "size"), [((2, 3), (3, 2)), ((64, 64), (64, 64)), ((40, 200), (64, 13))]
)
def test_the_size_is_that_of_the_first_readable_image(tmp_path, shape, size):
    images = make_images(tmp_path, [pixels(5, 5), None, pixels(*shape), pixels(7, 7)])
    assert common_size(images, np.array([1, 2, 3])) == size


def test_there_may_be_no_readable_image(tmp_path):
    images = make_images(tmp_path, [None, None])
    assert common_size(images, np.arange(2)) is None
    assert list(pixel_chunks(images, np.arange(2), (1, 1))) == []
