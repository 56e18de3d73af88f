import json
import os

import pytest
from data_helpers import png, write_tree

from labelsieve.core.exceptions import InputError, UnreadableImageError
from labelsieve.data import load_images


def table(tmp_path, text, name="metadata.csv"):
    write_tree(tmp_path, ["a.png", "sub/b.png", "c.png"])
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def test_metadata_csv_of_a_folder(tmp_path):
    path = table(tmp_path, "file_name,label\nsub/b.png,dog\na.png,cat\n")
    images = load_images(tmp_path)
    assert images.file_names.tolist() == ["sub/b.png", "a.png"]
    assert images.given_labels.tolist() == [1, 0]
    assert images.image(0).getpixel((0, 0)) == (1, 1, 1)
    assert images.location(0) == str(tmp_path / "sub" / "b.png")
    assert images.rule == (
        "table metadata.csv: images from column 'file_name', labels from column 'label'; "
        "class order: natural order of the names"
    )
    assert load_images(path).ids.tolist() == images.ids.tolist()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("t.tsv", "image\tclass\na.png\tx\nc.png\ty\n"),
        ("t.csv", "\ufeffimage;class\na.png;x\nc.png;y\n"),
        ("t.csv", "image,class,\na.png,x,,\n\nc.png,y\n"),
        (
            "t.jsonl",
            '{"image": "a.png", "class": "x"}\n\n{"class": "y", "image": {"path": "c.png"}}',
        ),
    ],
)
def test_other_tables(tmp_path, name, text):
    images = load_images(table(tmp_path, text, name))
    assert images.class_names == ("x", "y")
    assert [images.image(i).getpixel((0, 0))[0] for i in range(2)] == [0, 2]


def test_absolute_paths_and_missing_files(tmp_path):
    outside = tmp_path / "outside.png"
    outside.write_bytes(png(9))
    path = table(tmp_path / "t", f"image,label\n{outside},x\ngone.png,y\n,y\n../outside.png,x\n")
    images = load_images(path)
    assert images.image(0).getpixel((0, 0)) == (9, 9, 9)
    assert images.location(3) == str(outside)
    assert images.ids[2] == "row-000002"
    with pytest.raises(UnreadableImageError, match="file not found"):
        images.image(1)
    with pytest.raises(UnreadableImageError, match="no image given"):
        images.image(2)


def test_a_folder_or_a_pipe_is_unreadable(tmp_path):
    images = load_images(table(tmp_path, "image,label\nsub,x\na.png,y\n"))
    with pytest.raises(UnreadableImageError, match="not a regular file"):
        images.read_bytes(0)


def test_a_local_table_of_urls(tmp_path):
    outside = tmp_path / "outside.png"
    outside.write_bytes(png(9))
    path = table(tmp_path / "t", f"image,label\n{outside.as_uri()},x\na.png,y\n")
    images = load_images(path)
    assert images.read_bytes(0) == png(9)
    assert images.location(0) is None
    assert images.location(1) == str(path.parent / "a.png")


def test_columns_can_be_named(tmp_path):
    path = table(tmp_path, "where,species\na.png,cat\nc.png,dog\n", "t.csv")
    images = load_images(path, image_column="where", label_column="species")
    assert images.class_counts() == {"cat": 1, "dog": 1}


@pytest.mark.parametrize(
    ("header", "arguments", "text"),
    [
        ("where,label", {}, r"t.csv: no image column found; name one with --image-column"),
        ("image,species", {}, r"no label column found; name one with --label-column .*'species'"),
        ("img,path,label", {}, r"several columns may hold images: \['img', 'path'\]"),
        ("image,class,target", {}, r"several columns may hold labels: \['class', 'target'\]"),
        ("image,label", {"label_column": "x"}, r"has no column 'x'; its columns are 'image', 'lab"),
        ("image,label,label", {}, r"columns occur more than once: \['label'\]"),
    ],
)
def test_bad_columns(tmp_path, header, arguments, text):
    path = table(tmp_path, f"{header}\na.png,x,y\n"[: len(header) + 9] + "\n", "t.csv")
    with pytest.raises(InputError, match=text):
        load_images(path, **arguments)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.csv", "", "the table is empty; no header and no rows"),
        ("t.csv", "image,label\n", "no images found"),
        ("t.csv", "image,label\na.png,x,extra\n", "t.csv, line 2: 3 cells, but the header has 2"),
        ("t.jsonl", "", "the table is empty; no rows"),
        ("t.jsonl", '{"image": "a.png"}\n{oops', "t.jsonl, line 2: not JSON"),
        ("t.jsonl", "[1]", "line 1: expected a JSON object"),
        ("t.jsonl", '{"image": 3, "label": 1}', "column 'image' holds 3, which is no path"),
        ("t.jsonl", '{"image": "a.png", "label": ["x", "y"]}', "a label cell holds several values"),
        ("t.jsonl", '{"image": "a.png", "label": 0.5}', "label 0.5 is a fraction"),
        ("t.txt", "image", "unknown kind of table '.txt'; allowed: .csv, .tsv, .jsonl"),
    ],
)
def test_bad_tables(tmp_path, name, text, message):
    with pytest.raises(InputError, match=message):
        load_images(table(tmp_path, text, name))


def test_a_table_that_is_not_text(tmp_path):
    path = tmp_path / "t.csv"
    path.write_bytes(b"image,label\n\xff\xfe,x\n")
    with pytest.raises(InputError, match=r"t\.csv is not UTF-8 \('utf-8' .*; save it again as"):
        load_images(path)


def test_missing_labels_are_kept(tmp_path):
    path = table(tmp_path, "image,label\na.png,x\nb.png,\nc.png,y\nd.png,-1\ne.png,NaN\n")
    images = load_images(path)
    assert images.given_labels.tolist() == [0, -1, 1, -1, -1]
    assert images.labeled.tolist() == [True, False, True, False, False]
    assert images.notes == ("3 of 5 rows kept without a label",)


def test_ids_come_from_the_id_column(tmp_path):
    path = table(tmp_path, "id,image,label\n7,a.png,x\n007,a.png,y\n", "t.csv")
    images = load_images(path)
    assert images.ids.tolist() == ["7", "007"]
    assert images.file_names.tolist() == ["a.png", "a.png"]


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        (("1", "1"), "'id' must be unique, but 1 rows repeat a value, such as '1'"),
        (("1", ""), "column 'id' is empty in 1 rows"),
    ],
)
def test_bad_ids(tmp_path, ids, text):
    path = table(tmp_path, f"id,image,label\n{ids[0]},a.png,x\n{ids[1]},c.png,y\n", "t.csv")
    with pytest.raises(InputError, match=text):
        load_images(path)


def test_repeated_files_get_numbers_and_conflicts_are_noted(tmp_path):
    rows = ["a.png,x", "a.png,x", "a.png,y", "b.png,y", "b.png,y", "a.png#2,x"]
    images = load_images(table(tmp_path, "\n".join(["image,label", *rows])))
    assert images.ids.tolist() == ["a.png", "a.png#3", "a.png#4", "b.png", "b.png#2", "a.png#2"]
    assert images.notes == (
        "3 rows with a file name used before: ids end in #2, ...",
        "conflicting labels for 1 file: 'a.png'",
    )


def test_several_metadata_files(tmp_path):
    table(tmp_path, "file_name,label\na.png,x\n")
    (tmp_path / "metadata.jsonl").write_text("")
    with pytest.raises(InputError, match=r"several tables \(metadata.csv, metadata.jsonl\)"):
        load_images(tmp_path)


def test_ids_of_a_column_get_no_numbers_and_no_note(tmp_path):
    (tmp_path / "t.csv").write_text("id,image,label\n7,a.png,x\n8,a.png,x\n9,b.png,y\n")
    images = load_images(tmp_path / "t.csv")
    assert images.ids.tolist() == ["7", "8", "9"]
    assert images.notes == ()


def test_a_path_upwards_starts_where_a_link_leads(tmp_path):
    write_tree(tmp_path / "store", ["images/1.png", "images/2.png", "tables/unused.png"])
    table = "image,label\n../images/1.png,a\n../images/2.png,b\n"
    (tmp_path / "store" / "tables" / "t.csv").write_text(table)
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "tables").symlink_to(tmp_path / "store" / "tables")
    images = load_images(tmp_path / "here" / "tables" / "t.csv")
    assert images.image(1).getpixel((0, 0)) == (1, 1, 1)
    assert images.location(1) == os.path.realpath(tmp_path / "store" / "images" / "2.png")


def test_metadata_in_split_folders(tmp_path):
    for split, label in (("train", "x"), ("test", "y")):
        folder = write_tree(tmp_path / split, ["a.png", "b.png"])
        lines = [{"file_name": "a.png", "label": label}, {"file_name": "b.png", "label": "z"}]
        (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    images = load_images(tmp_path, split="test")
    assert images.class_names == ("y", "z")
    assert "split folder 'test'" in images.rule
