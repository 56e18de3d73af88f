"""WebDataset shards: samples, labels, ids, and what is damaged."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest
from PIL import Image

from labelsieve.core.exceptions import InputError, UnreadableImageError
from labelsieve.data import load_images


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (4, 4), value).save(buffer, "PNG")
    return buffer.getvalue()


def write(path: Path, members: list[tuple[str, bytes]]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def shard(path: Path, keys: list[str], label: str) -> Path:
    members = []
    for key in keys:
        members += [(f"{key}.png", png(len(key))), (f"{key}.cls", label.encode())]
    return write(path, members)


def test_samples_of_two_shards_in_order(tmp_path: Path):
    shard(tmp_path / "a-000.tar", ["x/1", "x/2"], "dog")
    shard(tmp_path / "a-001.tar", ["y/33"], "cat")
    for data in (tmp_path, tmp_path / "a-{000..001}.tar"):
        images = load_images(str(data))
        assert images.ids.tolist() == ["x/1", "x/2", "y/33"]
        assert images.file_names.tolist() == ["x/1.png", "x/2.png", "y/33.png"]
        assert images.class_names == ("cat", "dog")
        assert images.given_labels.tolist() == [1, 1, 0]
        assert [images.read_bytes(i) for i in range(3)] == [png(3), png(3), png(4)]
        assert images.subset([2]).read_bytes(0) == png(4)


def test_what_macos_adds_is_no_sample_and_the_plain_ending_is_the_image(tmp_path: Path):
    members = [
        ("README", b"of 2020"),
        ("x/._a.depth.png", b"attributes"),
        ("x/a.depth.png", png(9)),
        ("x/._a.jpg", b"attributes"),
        ("x/a.jpg", png(1)),
        ("x/._a.cls", b"attributes"),
        ("x/a.cls", b"dog"),
        ("._b.png", b"attributes"),
        ("b.png", png(2)),
        ("b.cls", b"cat"),
    ]
    images = load_images(write(tmp_path / "a.tar", members))
    assert images.ids.tolist() == ["x/a", "b"]
    assert images.file_names.tolist() == ["x/a.jpg", "b.png"]
    assert images.given_labels.tolist() == [1, 0]
    assert [images.read_bytes(i) for i in range(2)] == [png(1), png(2)]


def test_labels_as_integers_json_and_missing(tmp_path: Path):
    (tmp_path / "classes.json").write_text(json.dumps(["cat", "dog"]))
    members = [
        ("1.png", png(1)),
        ("1.cls", b"1"),
        ("2.jpg", png(2)),
        ("2.json", b'{"label": 0, "width": 4}'),
        ("3.png", png(3)),
        ("4.cls", b"0"),
    ]
    images = load_images(write(tmp_path / "s.tar", members))
    assert images.given_labels.tolist() == [1, 0, -1, 0]
    assert any("1 of 4 rows kept without a label" in note for note in images.notes)
    with pytest.raises(UnreadableImageError, match="no image given"):
        images.read_bytes(3)


def test_the_same_id_in_two_shards_names_both(tmp_path: Path):
    shard(tmp_path / "a.tar", ["1", "2"], "cat")
    shard(tmp_path / "b.tar", ["2", "3"], "dog")
    with pytest.raises(InputError, match=r"1 ids .* '2' in .*a\.tar and .*b\.tar.* leave one"):
        load_images(tmp_path)


@pytest.mark.parametrize("cut", [512 + 20, 3 * 512 + 30, 5 * 512 + 1, 8 * 512, 8 * 512 + 7])
def test_a_truncated_shard_keeps_its_rows_and_says_so(tmp_path: Path, cut: int):
    path = shard(tmp_path / "a.tar", ["1", "2", "3"], "cat")
    shard(tmp_path / "b.tar", ["8", "9"], "dog")
    path.write_bytes(path.read_bytes()[:cut])
    (tmp_path / "classes.json").write_text('["cat", "dog"]')
    images = load_images(tmp_path)
    assert any("a.tar is TRUNCATED" in note for note in images.notes)
    assert images.ids.tolist()[-2:] == ["8", "9"]
    readable, messages = [], []
    for row in range(len(images)):
        try:
            readable.append(images.read_bytes(row))
        except UnreadableImageError as error:
            messages.append(str(error))
    assert all("ends inside this image" in message for message in messages)
    assert all(content == png(1) for content in readable)
    assert len(readable) == 2 + (cut > 1024) + (cut > 3072)


def test_a_whole_shard_is_not_called_truncated(tmp_path: Path):
    shard(tmp_path / "a.tar", ["1"], "cat")
    shard(tmp_path / "b.tar", ["9"], "dog")
    assert load_images(tmp_path).notes == ()


def test_an_archive_beside_what_was_unpacked_from_it_is_no_data(tmp_path: Path):
    shard(tmp_path / "photos.tar", ["cat/1", "dog/1"], "fish")
    for name in ("cat/1.png", "dog/1.png"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).write_bytes(b"")
    images = load_images(tmp_path)
    assert images.ids.tolist() == ["cat/1.png", "dog/1.png"]
    assert images.class_names == ("cat", "dog")
    (tmp_path / "metadata.csv").write_text("file_name,label\ncat/1.png,a\ndog/1.png,b\n")
    assert load_images(tmp_path).class_names == ("a", "b")


@pytest.mark.parametrize("pattern", ["photos-{}-000.tar", "{}_000.tar", "{}/000.tar"])
def test_shards_of_one_split_are_read(tmp_path: Path, pattern: str):
    for split, key in (("train", "x/1"), ("val", "x/22")):
        path = tmp_path / pattern.format(split)
        path.parent.mkdir(exist_ok=True)
        shard(path, [key], "dog")
    names = {"class_names": ["dog", "cat"]}
    assert load_images(str(tmp_path), **names).ids.tolist() == ["x/1"]
    images = load_images(str(tmp_path), split="validation", **names)
    assert images.ids.tolist() == ["x/22"]
    assert pattern.format("val") in images.rule
    assert images.read_bytes(0) == png(4)
    with pytest.raises(InputError, match=r"there is no split 'test'; choose one .*train, val"):
        load_images(str(tmp_path), split="test", **names)


def test_shards_whose_names_are_no_splits_are_read_together(tmp_path: Path):
    for name, key in (("train-0.tar", "1"), ("train-test-0.tar", "2"), ("more.tar", "3")):
        shard(tmp_path / name, [key], "dog")
    names = {"class_names": ["dog", "cat"]}
    assert sorted(load_images(str(tmp_path), **names).ids) == ["1", "2", "3"]
    for data in (tmp_path, tmp_path / "train-{0..0}.tar"):
        with pytest.raises(InputError, match="the data have no splits; leave out split='train'"):
            load_images(str(data), split="train", **names)


def test_hidden_shards_are_passed_over(tmp_path: Path):
    shard(tmp_path / "a.tar", ["1"], "cat")
    shard(tmp_path / "b.tar", ["2"], "dog")
    (tmp_path / "._a.tar").write_bytes(b"what macOS writes beside a file")
    assert load_images(tmp_path).ids.tolist() == ["1", "2"]


def test_no_tar_file(tmp_path: Path):
    (tmp_path / "a.tar").write_bytes(b"no archive at all" * 100)
    with pytest.raises(InputError, match=r"a\.tar cannot be read as an uncompressed tar file"):
        load_images(tmp_path / "a.tar")
