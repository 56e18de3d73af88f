"""Data behind URLs, here in fsspec's memory file system, and storage that fails for a while."""

from __future__ import annotations

import io
import json
from pathlib import Path

import fsspec
import pytest
from PIL import Image

from labelsieve.core.exceptions import InputError, StorageError, UnreadableImageError
from labelsieve.data import load_images, storage


def png(value: int) -> bytes:
    buffer = io.BytesIO()
    Image.new("L", (4, 4), value).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def memory():
    """An empty memory file system."""
    system = fsspec.filesystem("memory")
    system.store.clear()
    yield system
    system.store.clear()


@pytest.fixture
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts, which take no time here."""
    found: list[float] = []
    monkeypatch.setattr(storage.time, "sleep", found.append)
    return found


def test_a_class_tree(memory):
    for name, value in {"dog/1.png": 1, "cat/2.png": 2, "cat/notes.txt": 3}.items():
        memory.pipe(f"/tree/{name}", png(value))
    memory.pipe("/tree/classes.json", json.dumps(["dog", "cat"]).encode())
    images = load_images("memory://tree")
    assert images.ids.tolist() == ["cat/2.png", "dog/1.png"]
    assert images.class_names == ("dog", "cat")
    assert images.given_labels.tolist() == [1, 0]
    assert images.read_bytes(0) == png(2)
    assert images.subset([1]).read_bytes(0) == png(1)
    assert images.location(0) is None


def test_a_table_with_relative_and_absolute_names(memory):
    memory.pipe("/t/labels.csv", b"file_name,label\na.png,x\nmemory://other/b.png,y\n,x\n")
    memory.pipe("/t/a.png", png(1))
    memory.pipe("/other/b.png", png(2))
    images = load_images("memory://t/labels.csv")
    assert [images.read_bytes(0), images.read_bytes(1)] == [png(1), png(2)]
    with pytest.raises(UnreadableImageError, match="no image given"):
        images.read_bytes(2)


def test_a_vanished_file_is_not_asked_for_again(memory, waits: list[float]):
    memory.pipe("/tree/dog/1.png", png(1))
    memory.pipe("/tree/cat/1.png", png(1))
    images = load_images("memory://tree")
    memory.rm("/tree/dog/1.png")
    with pytest.raises(UnreadableImageError, match=r"file not found: memory://tree/dog/1\.png"):
        images.read_bytes(1)
    assert waits == []


def test_short_bodies_are_failed_attempts(memory, waits: list[float]):
    memory.pipe("/tree/dog/1.png", png(1))
    memory.pipe("/tree/cat/1.png", png(1))
    images = load_images("memory://tree")
    memory.pipe("/tree/dog/1.png", png(1)[:-10])
    with pytest.raises(StorageError, match=r"storage failed 6 times .* bytes came"):
        images.read_bytes(1)
    assert waits == pytest.approx([0.2, 0.4, 0.8, 1.6, 3.2])


def test_storage_that_comes_back(waits: list[float]):
    answers = iter([OSError("500"), TimeoutError(), "fine"])

    def attempt() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    assert storage.retried(attempt, "x") == "fine"
    assert waits == pytest.approx([0.2, 0.4])


def test_what_cannot_be_read():
    with pytest.raises(InputError, match="a web server has no list of its files"):
        load_images("http://127.0.0.1:1/photos/")
    with pytest.raises(InputError, match="unknown kind of URL"):
        load_images("nonsense://bucket/photos")
    with pytest.raises(InputError, match=r"the range .* is empty"):
        load_images("a-{3..1}.tar")


def test_local_paths_are_no_urls(tmp_path: Path):
    assert not storage.is_url(str(tmp_path))
    assert not storage.is_url("owner/name")
