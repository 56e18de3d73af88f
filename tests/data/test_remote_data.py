"""Data behind URLs, here in fsspec's memory file system, and storage that fails for a while."""

from __future__ import annotations

import io
import json
import pickle
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
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


def parquet(values: list[int | None], **more) -> bytes:
    """A table with a row group for every two images, as Hugging Face embeds them."""
    cells = [None if v is None else {"bytes": png(v), "path": f"{v}.png"} for v in values]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    labels = [("cat", "dog")[row % 2] for row in range(len(values))]
    table = pa.table({"image": pa.array(cells, kind), "label": labels} | more)
    buffer = io.BytesIO()
    pq.write_table(table, buffer, row_group_size=2)
    return buffer.getvalue()


def test_images_inside_remote_parquet_are_read_by_row_groups(memory):
    memory.pipe("/p/train-00000.parquet", parquet([1, 2, 3, None, 5]))
    memory.pipe("/p/train-00001.parquet", parquet([6, 7]))
    memory.pipe("/p/classes.json", json.dumps(["dog", "cat"]).encode())
    images = load_images("memory://p/train-{00000..00001}.parquet")
    assert len(images) == 7
    assert images.class_names == ("dog", "cat")
    assert images.given_labels.tolist() == [1, 0, 1, 0, 1, 1, 0]
    assert images.file_names[:2].tolist() == ["1.png", "2.png"]
    read = {row: images.read_bytes(row) for row in (6, 4, 2, 1, 0, 5)}
    assert read == {row: png(v) for row, v in ((0, 1), (1, 2), (2, 3), (4, 5), (5, 6), (6, 7))}
    with pytest.raises(UnreadableImageError, match="no image given"):
        images.read_bytes(3)
    assert images.location(0) is None
    sent = pickle.loads(pickle.dumps(images.subset([6, 0])))
    assert [sent.read_bytes(0), sent.read_bytes(1)] == [png(7), png(1)]
    with pytest.raises(InputError, match=r"no image files; name the tables, such as memory://p/tr"):
        load_images("memory://p")


def test_remote_parquet_of_names_and_of_bytes(memory):
    buffer = io.BytesIO()
    pq.write_table(pa.table({"file_name": ["a.png", "b.png"], "label": ["x", "y"]}), buffer)
    memory.pipe("/n/labels.parquet", buffer.getvalue())
    memory.pipe("/n/b.png", png(9))
    assert load_images("memory://n/labels.parquet").read_bytes(1) == png(9)
    buffer = io.BytesIO()
    pq.write_table(pa.table({"image": [png(3), png(4)], "label": ["x", "y"]}), buffer)
    memory.pipe("/n/inside.parquet", buffer.getvalue())
    assert load_images("memory://n/inside.parquet").read_bytes(1) == png(4)


def test_a_remote_table_with_paths_beside_it_reads_them_from_there(memory):
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    cells = pa.array([{"bytes": png(1), "path": None}, {"bytes": None, "path": "x/b.png"}], kind)
    buffer = io.BytesIO()
    pq.write_table(pa.table({"image": cells, "label": ["x", "y"]}), buffer)
    memory.pipe("/n/mixed.parquet", buffer.getvalue())
    memory.pipe("/n/x/b.png", png(2))
    images = load_images("memory://n/mixed.parquet")
    assert [images.read_bytes(0), images.read_bytes(1)] == [png(1), png(2)]
    assert images.location(1) is None


def test_remote_parquet_survives_failures_and_tells_of_lasting_ones(
    memory, waits: list[float], monkeypatch: pytest.MonkeyPatch
):
    memory.pipe("/p/t.parquet", parquet([1, 2, 3, 4]))
    images, opened, real = load_images("memory://p/t.parquet"), [], memory.open

    def flaky(path, *arguments, **options):
        opened.append(path)
        if len(opened) % 2:
            raise OSError("503 Slow Down")
        return real(path, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(type(memory), "open", lambda self, *a, **k: flaky(*a, **k))
        assert images.read_bytes(3) == png(4)
        assert len(waits) == 2
    memory.pipe("/p/t.parquet", parquet([1, 2, 3, 4])[:300])
    with pytest.raises(StorageError, match=r"storage failed 6 times for memory://p/t\.parquet"):
        images.read_bytes(0)
    memory.rm("/p/t.parquet")
    with pytest.raises(InputError, match=r"cannot fetch the table: file not found"):
        load_images("memory://p/t.parquet")


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


class Answer(Exception):
    """What a web client raises for a status."""

    def __init__(self, status: int):
        super().__init__(f"status {status}")
        self.status = status


@pytest.mark.parametrize(
    ("cause", "kind", "tries"),
    [
        (ConnectionRefusedError("refused"), StorageError, 6),
        (Answer(503), StorageError, 6),
        (Answer(404), UnreadableImageError, 1),
        (FileNotFoundError("x"), UnreadableImageError, 1),
        (None, UnreadableImageError, 1),
    ],
)
def test_a_server_that_is_down_is_no_missing_file(waits: list[float], cause, kind, tries: int):
    calls = []

    def attempt():
        calls.append(1)
        raise FileNotFoundError("http://x/1.png") from cause

    with pytest.raises(UnreadableImageError) as caught:
        storage.retried(attempt, "http://x/1.png")
    assert type(caught.value) is kind
    assert len(calls) == tries
    assert ("file not found" in str(caught.value)) == (kind is UnreadableImageError)


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
