import numpy as np
import pytest
from data_helpers import write_tree

from labelsieve.core.exceptions import InputError
from labelsieve.data import LabeledImages, load_images
from labelsieve.data.sources import FileSource, ImageSource, SubsetSource


@pytest.fixture
def images(tmp_path):
    return load_images(write_tree(tmp_path, ["a/0.png", "a/1.png", "b_c/2.png", "b_c/3.png"]))


def grey(images):
    return [images.image(i).getpixel((0, 0))[0] for i in range(len(images))]


def test_subset_keeps_rows_together(images):
    part = images.subset([3, 0])
    assert part.ids.tolist() == ["b_c/3.png", "a/0.png"]
    assert part.given_labels.tolist() == [1, 0]
    assert part.class_names == images.class_names
    assert grey(part) == [3, 0]
    assert grey(images.subset(np.array([False, True, False, True]))) == [1, 3]
    assert len(images.subset([])) == 0


def test_subset_of_subset_keeps_one_map(images):
    part = images.subset([3, 2, 1]).subset([2, 0])
    assert grey(part) == [1, 3]
    assert isinstance(part.source, FileSource)
    assert part.source.names == ["a/1.png", "b_c/3.png"]


def test_subset_of_subset_of_other_sources_keeps_one_map():
    class Numbers(ImageSource):
        def read_bytes(self, index):
            return bytes([index])

        def location(self, index):
            return None

    whole = Numbers()
    part = whole.subset(np.array([3, 2, 1])).subset(np.array([2, 0]))
    assert isinstance(part, SubsetSource)
    assert part.source is whole
    assert [part.read_bytes(i) for i in range(2)] == [b"\x01", b"\x03"]


def test_rows_out_of_range(images):
    assert images.image(-1).getpixel((0, 0)) == (3, 3, 3)
    with pytest.raises(IndexError, match="row 4 of 4 images"):
        images.read_bytes(4)
    with pytest.raises(IndexError, match="row 2 of 2 images"):
        images.subset([0, 1]).location(2)


def test_with_labels(images):
    other = images.with_labels([1, -1, 0, 0])
    assert other.class_counts() == {"a": 2, "b_c": 1}
    assert other.labeled.tolist() == [True, False, True, True]
    assert images.given_labels.tolist() == [0, 0, 1, 1]
    renamed = images.with_labels([2, 0, 0, 0], class_names=["x", "y", "red_z"])
    assert renamed.prompt_names == ("x", "y", "red z")
    assert renamed.given_labels.dtype == np.int64


def test_prompt_names_default(images):
    assert images.prompt_names == ("a", "b c")


@pytest.mark.parametrize(
    ("labels", "text"),
    [
        ([0, 0, 0, 2], r"expected indices 0..1, but got 0..2"),
        ([0, 0], r"expected shape \(4,\)"),
        (["a"] * 4, "expected integer class indices"),
    ],
)
def test_bad_labels(images, labels, text):
    with pytest.raises(InputError, match=text):
        images.with_labels(labels)


def test_made_by_hand_of_lists_and_paths(images, tmp_path):
    files = [tmp_path / name for name in images.ids]
    own = LabeledImages(
        ids=images.ids.tolist(),
        file_names=[path.name for path in files],
        given_labels=[0, 1, 1, 0],
        class_names=["a", "b"],
        source=FileSource(tmp_path, files),
        rule="by hand",
    )
    assert grey(own.subset([2, 1])) == [2, 1]
    assert own.subset([2, 1]).file_names.tolist() == ["2.png", "1.png"]
    assert own.location(3) == str(tmp_path / "b_c" / "3.png")
    assert repr(own) == "LabeledImages(4 images, 2 classes; by hand)"


def test_lengths_must_fit():
    names = np.array(["a"], dtype=object)
    with pytest.raises(InputError, match="1 ids, but 0 file names"):
        LabeledImages(
            ids=names,
            file_names=names[:0],
            given_labels=np.array([0]),
            class_names=("a", "b"),
            source=FileSource(".", ["a"]),
            rule="by hand",
        )
