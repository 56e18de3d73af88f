import json

import numpy as np
import pyarrow.parquet as pq
import pytest
from data_helpers import HF_LABELS, structs, write_parquet, write_tree

from labelsieve.core.exceptions import InputError
from labelsieve.data import inject_noise, load_images, read_noise_matrix, write_noisy

NOISE = {"kind": "symmetric", "rate": 0.5, "random_state": 0}


@pytest.fixture
def images(tmp_path):
    names = ["x/0.png", "x/1.png", "nan/2.png", "y/3.png", "4.png"]
    write_tree(tmp_path / "in", names)
    return load_images(tmp_path / "in", class_names=["y", "x", "nan"])


def test_files_come_back_with_noisy_labels(images, tmp_path):
    noisy = write_noisy(images, tmp_path / "out", **NOISE)
    again = load_images(tmp_path / "out")
    expected = inject_noise(images.given_labels, 3, **NOISE)
    assert again.given_labels.tolist() == noisy.labels.tolist() == expected.labels.tolist()
    assert again.class_names == ("y", "x", "nan")
    assert again.ids.tolist() == images.ids.tolist()
    assert [again.location(i) for i in range(5)] == [images.location(i) for i in range(5)]
    assert again.read_bytes(2) == images.read_bytes(2)
    assert (again.given_labels != images.given_labels).sum() == 2


def test_the_table_remembers_and_the_summary_counts(images, tmp_path):
    write_noisy(images, tmp_path / "out", **NOISE)
    table = pq.read_table(tmp_path / "out" / "metadata.parquet")
    assert table.column_names == ["id", "file_name", "image", "label", "label_before_noise"]
    before = [images.class_names[k] if k >= 0 else None for k in images.given_labels]
    assert table["label_before_noise"].to_pylist() == before
    assert table["image"][0].as_py()["bytes"] is None
    assert json.loads((tmp_path / "out" / "classes.json").read_text()) == ["y", "x", "nan"]
    assert json.loads((tmp_path / "out" / "noise.json").read_text()) == {
        "kind": "symmetric",
        "rate": 0.5,
        "expected_rate": 0.5,
        "realised_rate": 0.5,
        "normalize": False,
        "random_state": 0,
        "n_rows": 5,
        "n_labeled": 4,
        "n_changed": 2,
        "notes": [],
    }


def test_a_written_matrix_can_be_used_again(images, tmp_path):
    names = images.class_names
    write_noisy(images, tmp_path / "first", **NOISE)
    matrix = read_noise_matrix(tmp_path / "first" / "noise_matrix.csv", names)
    assert np.allclose(matrix, [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.25, 0.5]])
    choice = {"kind": "class-dependent", "matrix": matrix, "random_state": 1}
    noisy = write_noisy(images, tmp_path / "second", **choice)
    expected = inject_noise(images.given_labels, 3, **choice)
    assert noisy.labels.tolist() == expected.labels.tolist()
    assert load_images(tmp_path / "second").given_labels.tolist() == noisy.labels.tolist()
    summary = json.loads((tmp_path / "second" / "noise.json").read_text())
    assert summary["rate"] is None
    assert summary["expected_rate"] == 0.5


def test_instance_dependent_noise_looks_at_the_images(images, tmp_path):
    (tmp_path / "in" / "x" / "1.png").write_bytes(b"damaged")
    choice = {"kind": "instance-dependent", "rate": 0.9, "random_state": 0, "normalize": True}
    noisy = write_noisy(images, tmp_path / "out", **choice)
    expected = inject_noise(images.given_labels, 3, images=images, **choice)
    assert noisy.labels.tolist() == expected.labels.tolist()
    assert load_images(tmp_path / "out").given_labels.tolist() == noisy.labels.tolist()
    summary = json.loads((tmp_path / "out" / "noise.json").read_text())
    assert summary["expected_rate"] == noisy.expected_rate > 0.5
    assert summary["normalize"]
    assert summary["notes"] == ["1 labelled images could not be read and keep their label"]


def test_embedded_images_are_copied_in_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("labelsieve.data.write.GROUP_ROWS", 3)
    columns = {"image": structs(8), "label": [0, 1] * 4}
    images = load_images(write_parquet(tmp_path / "t.parquet", columns, HF_LABELS))
    write_noisy(images, tmp_path / "out", kind="pair-flip", rate=1, random_state=0)
    assert pq.ParquetFile(tmp_path / "out" / "metadata.parquet").num_row_groups == 3
    again = load_images(tmp_path / "out")
    assert again.given_labels.tolist() == [1, 0] * 4
    assert [again.image(i).getpixel((0, 0))[0] for i in range(8)] == list(range(8))
    assert again.location(0) is None


def test_datasets_reads_it_too(images, tmp_path):
    datasets = pytest.importorskip("datasets")
    write_noisy(images, tmp_path / "out", **NOISE)
    path = str(tmp_path / "out" / "metadata.parquet")
    dataset = datasets.Dataset.from_parquet(path, cache_dir=str(tmp_path / "cache"))
    assert isinstance(dataset.features["image"], datasets.Image)


def test_an_existing_folder_is_kept(images, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine.txt").write_text("precious")
    with pytest.raises(InputError, match="exists and is not empty; give a new folder or use --for"):
        write_noisy(images, out, **NOISE)
    with pytest.raises(InputError, match=r"has no noise.json, so it was not written here"):
        write_noisy(images, out, force=True, **NOISE)
    with pytest.raises(InputError, match="is a file; give a new folder"):
        write_noisy(images, out / "mine.txt", **NOISE)
    assert (out / "mine.txt").read_text() == "precious"


def test_force_replaces_what_was_written_here(images, tmp_path):
    out = tmp_path / "out"
    write_noisy(images, out, **NOISE)
    write_noisy(images, out, **{**NOISE, "rate": 0}, force=True)
    assert np.array_equal(load_images(out).given_labels, images.given_labels)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in", "out"]


def test_a_failure_leaves_nothing(images, tmp_path, monkeypatch):
    def fail(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr("labelsieve.data.write._summary", fail)
    with pytest.raises(KeyboardInterrupt):
        write_noisy(images, tmp_path / "out", **NOISE)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in"]
