import os
from unicodedata import normalize

import pytest
from data_helpers import write_tree

from labelsieve.core.exceptions import InputError, UnreadableImageError
from labelsieve.data import load_images


def test_class_folders(tmp_path):
    images = load_images(write_tree(tmp_path, ["c10/a.png", "c9/b.png", "c9/deep/c.JPG"]))
    assert images.class_names == ("c9", "c10")
    assert images.ids.tolist() == ["c10/a.png", "c9/b.png", "c9/deep/c.JPG"]
    assert images.given_labels.tolist() == [1, 0, 0]
    assert [images.image(i).getpixel((0, 0))[0] for i in range(3)] == [0, 1, 2]
    assert images.location(1) == str(tmp_path / "c9" / "b.png")
    assert images.rule == "one folder a class; class order: natural order of the names"
    assert images.notes == ()


def test_hidden_and_other_files_are_skipped_and_counted(tmp_path):
    write_tree(tmp_path, ["a/1.png", "b/2.png", "a/.hidden.png", ".git/x.png", "a/n.txt", "b/n.md"])
    images = load_images(tmp_path)
    assert images.ids.tolist() == ["a/1.png", "b/2.png"]
    assert images.notes == ("skipped 2 files without an image extension",)


def test_a_file_that_is_no_image_is_an_unreadable_row(tmp_path):
    write_tree(tmp_path, ["a/1.png", "b/2.png"])
    (tmp_path / "a" / "1.png").write_text("<script>")
    (tmp_path / "b" / "3.png").symlink_to(tmp_path / "gone.png")
    images = load_images(tmp_path)
    assert len(images) == 3
    with pytest.raises(UnreadableImageError, match="not an image"):
        images.image(0)
    with pytest.raises(UnreadableImageError, match="file not found"):
        images.image(2)


def test_loose_images_have_no_label(tmp_path):
    images = load_images(write_tree(tmp_path, ["a/1.png", "b/2.png", "top.png"]))
    assert dict(zip(images.ids, images.given_labels, strict=True))["top.png"] == -1
    assert "1 image outside the class folders, without a label" in images.notes


def test_link_loops_end(tmp_path):
    write_tree(tmp_path, ["a/1.png", "b/2.png"])
    (tmp_path / "a" / "up").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "b" / "self").symlink_to("self")
    images = load_images(tmp_path)
    assert images.ids.tolist() == ["a/1.png", "b/2.png"]
    assert "not followed: 1 link to a folder that holds it" in images.notes


def test_a_linked_folder_is_followed(tmp_path):
    write_tree(tmp_path, ["store/1.png"])
    root = write_tree(tmp_path / "data", ["b/2.png"])
    (root / "a").symlink_to(tmp_path / "store", target_is_directory=True)
    assert load_images(root).ids.tolist() == ["a/1.png", "b/2.png"]


@pytest.mark.parametrize(
    "name",
    ['"quoted".png', "<script>alert(1)<.png", "naïve 猫.png", "new\nline.png", "x" * 250 + ".png"],
)
def test_odd_file_names_survive(tmp_path, name):
    images = load_images(write_tree(tmp_path, [f"a/{name}", "b/1.png"]))
    assert images.ids[0] == f"a/{name}"
    assert images.image(0).size == (2, 2)


def test_a_path_of_300_characters_survives(tmp_path):
    name = "/".join(["a", "d" * 150, "e" * 150, "1.png"])
    assert load_images(write_tree(tmp_path, [name, "b/1.png"])).image(0).size == (2, 2)


def test_file_names_that_are_not_utf8_are_shown_escaped(tmp_path):
    write_tree(tmp_path, ["a/1.png", "b/2.png"])
    try:
        os.rename(tmp_path / "a" / "1.png", os.fsencode(tmp_path / "a") + b"/caf\xe9.png")
    except OSError:
        pytest.skip("the file system takes UTF-8 names only")
    images = load_images(tmp_path)
    assert images.ids[0] == "a/caf\\xe9.png"
    assert images.image(0).size == (2, 2)


SPLIT_TREE = ["train/a/1.png", "train/b/2.png", "test/a/3.png", "test/b/4.png", "val/b/5.png"]


@pytest.mark.parametrize(
    ("split", "folder", "n_rows"), [(None, "train", 2), ("test", "test", 2), ("train", "train", 2)]
)
def test_split_folders(tmp_path, split, folder, n_rows):
    images = load_images(write_tree(tmp_path, SPLIT_TREE), split=split)
    assert len(images) == n_rows
    assert images.rule.startswith(f"one folder a class, split folder '{folder}'; ")
    assert images.location(0) == str(tmp_path / folder / images.ids[0])


def test_folders_without_images_do_not_hide_the_splits(tmp_path):
    """Such as the output of a scan, which may lie in the data, or annotations."""
    root = write_tree(tmp_path, SPLIT_TREE)
    before = load_images(root)
    (root / "out" / "model").mkdir(parents=True)
    (root / "out" / "issues.parquet").write_bytes(b"")
    (root / "notes").mkdir()
    images = load_images(root)
    assert images.rule == before.rule
    assert images.ids.tolist() == before.ids.tolist() == ["a/1.png", "b/2.png"]


def test_splits_beside_a_class_are_pointed_out(tmp_path):
    root = write_tree(tmp_path, [*SPLIT_TREE, "dog/6.png"])
    images = load_images(root)
    assert images.class_names == ("dog", "test", "train", "val")
    assert images.notes[0].startswith("the classes test, train, val look like splits, but")
    assert load_images(root / "train").notes == ()


def test_split_synonyms(tmp_path):
    images = load_images(
        write_tree(tmp_path, SPLIT_TREE), split="validation", class_names=["a", "b"]
    )
    assert images.given_labels.tolist() == [1]


def test_tables_that_are_not_read_are_pointed_out(tmp_path):
    root = write_tree(tmp_path, ["images/1.png", "images/2.png"])
    (root / "labels.csv").write_text("image,label\nimages/1.png,a\nimages/2.png,b\n")
    note = "not read: labels.csv; if the labels are in there, give its path"
    with pytest.raises(InputError, match=f"only the class 'images' .*{note}"):
        load_images(root)
    write_tree(root, ["more/3.png"])
    assert load_images(root).notes[0] == note
    assert load_images(root / "labels.csv").class_names == ("a", "b")


def test_unknown_split(tmp_path):
    write_tree(tmp_path, SPLIT_TREE)
    with pytest.raises(
        InputError, match="no split 'extra'; choose one with split: test, train, val"
    ):
        load_images(tmp_path, split="extra")


def test_split_of_data_without_splits(tmp_path):
    write_tree(tmp_path, ["a/1.png", "b/2.png"])
    with pytest.raises(InputError, match="the data have no splits; leave out split='test'"):
        load_images(tmp_path, split="test")


def test_train_and_test_can_be_classes(tmp_path):
    assert load_images(write_tree(tmp_path / "x", ["train/1.png", "plane/2.png"])).class_names == (
        "plane",
        "train",
    )
    assert load_images(write_tree(tmp_path / "y", ["train/1.png", "test/2.png"])).class_names == (
        "test",
        "train",
    )


def test_classes_json_gives_the_order_also_beside_the_splits(tmp_path):
    write_tree(tmp_path, SPLIT_TREE)
    (tmp_path / "classes.json").write_text('["b", "a", "never seen"]')
    images = load_images(tmp_path)
    assert images.class_names == ("b", "a", "never seen")
    assert images.class_counts() == {"b": 1, "a": 1, "never seen": 0}
    assert images.rule.endswith("; class order from classes.json")


def test_white_space_in_folder_names_is_merged(tmp_path):
    images = load_images(write_tree(tmp_path, ["sea lion/1.png", "sea  lion /2.png", "b/3.png"]))
    assert images.class_counts() == {"b": 1, "sea lion": 2}
    assert images.notes == ("1 class names had extra white space, which was removed: 'sea  lion '",)


def test_case_differences_are_kept_and_noted(tmp_path):
    images = load_images(write_tree(tmp_path, ["Cat/1.png", "cat/2.png"]))
    assert images.class_names == ("Cat", "cat")
    assert "differ only by case are kept apart: 'Cat' / 'cat'; if they mean" in images.notes[0]


def test_names_that_look_alike_are_noted(tmp_path):
    """As when one half of the data was unpacked by a program that takes letters apart."""
    names = [normalize(form, "café") for form in ("NFC", "NFD")]
    images = load_images(write_tree(tmp_path, [f"{names[0]}/1.png", f"{names[1]}/2.png"]))
    assert set(images.class_names) == set(names)
    assert "differ only in how letters are encoded are kept apart" in images.notes[0]


def test_empty_and_flat_and_one_class(tmp_path):
    with pytest.raises(
        InputError, match=r"no images found .*expected one folder of images a class"
    ):
        load_images(tmp_path)
    write_tree(tmp_path, ["1.png", "2.png"])
    with pytest.raises(InputError, match=r"at least two classes are needed, but found no label"):
        load_images(tmp_path)
    write_tree(tmp_path, ["only/1.png"])
    with pytest.raises(InputError, match=r"but found only the class 'only'"):
        load_images(tmp_path)


def test_flat_folder_with_given_classes_is_unlabelled(tmp_path):
    images = load_images(write_tree(tmp_path, ["1.png", "2.png"]), class_names=["a", "b"])
    assert images.given_labels.tolist() == [-1, -1]
    assert not images.labeled.any()
    assert images.notes == ("2 of 2 rows kept without a label",)
    assert images.rule.startswith("a flat folder of images without labels")
