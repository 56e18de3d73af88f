import os
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from data_helpers import HF_LABELS, png, structs, write_parquet, write_tree

from labelsieve.core.exceptions import InputError, UnreadableImageError
from labelsieve.data import load_images
from labelsieve.data.parquet import class_features


def value(images, i):
    return images.image(i).getpixel((0, 0))[0]


def test_hugging_face_schema_names_the_classes(tmp_path):
    columns = {"image": structs(4), "label": pa.array([1, 0, -1, None], pa.int64())}
    images = load_images(write_parquet(tmp_path / "t.parquet", columns, HF_LABELS))
    assert images.class_names == ("dog", "cat")
    assert images.given_labels.tolist() == [1, 0, -1, -1]
    assert images.ids.tolist() == ["img0.png", "img1.png", "img2.png", "img3.png"]
    assert [value(images, i) for i in range(4)] == [0, 1, 2, 3]
    assert images.location(0) is None
    assert images.rule.endswith("; class order from the file's schema")


def test_declared_types_find_unusual_columns(tmp_path):
    columns = {"photo_data": structs(2), "species": [0, 1], "n": [1, 2]}
    metadata = HF_LABELS.replace('"image"', '"photo_data"').replace('"label"', '"species"')
    images = load_images(write_parquet(tmp_path / "t.parquet", columns, metadata))
    assert images.given_labels.tolist() == [0, 1]


def test_integers_are_indices_even_if_the_names_are_digits(tmp_path):
    metadata = HF_LABELS.replace("dog", "1").replace("cat", "0")
    columns = {"image": structs(2), "label": [0, 1]}
    images = load_images(write_parquet(tmp_path / "t.parquet", columns, metadata))
    assert [images.class_names[k] for k in images.given_labels] == ["1", "0"]


def test_out_of_range_integers(tmp_path):
    path = write_parquet(tmp_path / "t.parquet", {"image": structs(2), "label": [0, 5]}, HF_LABELS)
    with pytest.raises(
        InputError, match=r"1 distinct labels do not fit the 2 classes of the file's"
    ):
        load_images(path)


def test_class_names_can_reorder_the_schema(tmp_path):
    path = write_parquet(tmp_path / "t.parquet", {"image": structs(2), "label": [0, 1]}, HF_LABELS)
    images = load_images(path, class_names=["cat", "dog"])
    assert images.class_names == ("cat", "dog")
    assert images.given_labels.tolist() == [1, 0]


def test_dictionary_gives_the_order(tmp_path):
    labels = pa.array(["b", "a", None, "b"]).dictionary_encode()
    images = load_images(
        write_parquet(tmp_path / "t.parquet", {"image": structs(4), "label": labels})
    )
    assert images.class_names == ("b", "a")
    assert images.given_labels.tolist() == [0, 1, -1, 0]


def test_pandas_categories_give_the_order(tmp_path):
    labels = pd.Categorical(["x", "y"], categories=["y", "never", "x"])
    frame = pd.DataFrame({"image": ["a.png", "b.png"], "label": labels})
    frame.to_parquet(tmp_path / "t.parquet")
    assert load_images(tmp_path / "t.parquet").class_names == ("y", "never", "x")


def test_categories_are_cleaned_as_names_are(tmp_path):
    """White space made a class that no label is of, and a missing label the class ""."""
    names = ["dog ", "", "nan", "dog", "cat"]
    frame = pd.DataFrame({"image": list("abcde"), "label": pd.Categorical(names, names)})
    frame.to_parquet(tmp_path / "t.parquet")
    images = load_images(tmp_path / "t.parquet")
    assert images.class_names == ("dog", "cat")
    assert images.given_labels.tolist() == [0, -1, -1, 0, 1]


@pytest.mark.skipif(sys.platform != "linux", reason="counts the entries of /proc/self/fd")
def test_many_shards_do_not_use_up_the_open_files(tmp_path):
    for shard in range(5):
        columns = {"image": structs(2), "label": ["x", "y"]}
        write_parquet(tmp_path / f"train-{shard:05d}-of-00005.parquet", columns)
    images = load_images(tmp_path)
    before = set(os.listdir("/proc/self/fd"))
    assert [value(images, i) for i in range(10)] == [0, 1] * 5
    assert set(os.listdir("/proc/self/fd")) == before


def test_paths_and_mixed_structs(tmp_path):
    write_tree(tmp_path, ["a.png", "sub/b.png"])
    rows = [
        {"bytes": None, "path": "sub/b.png"},
        {"bytes": png(7), "path": None},
        {"bytes": None, "path": None},
        None,
    ]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    columns = {"image": pa.array(rows, kind), "label": ["x", "y", "x", "y"]}
    images = load_images(write_parquet(tmp_path / "t.parquet", columns))
    assert images.ids.tolist() == ["sub/b.png", "row-000001", "row-000002", "row-000003"]
    assert [value(images, 0), value(images, 1)] == [1, 7]
    assert images.location(0) == str(tmp_path / "sub" / "b.png")
    assert images.location(1) is None
    for row in (2, 3):
        with pytest.raises(UnreadableImageError, match="no image given"):
            images.image(row)


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string()])
def test_columns_of_paths(tmp_path, kind):
    write_tree(tmp_path, ["a.png", "b.png"])
    columns = {"file_name": pa.array(["b.png", "a.png"], kind), "label": ["x", "y"]}
    images = load_images(write_parquet(tmp_path / "metadata.parquet", columns).parent)
    assert [value(images, 0), value(images, 1)] == [1, 0]


def test_columns_of_bytes(tmp_path):
    columns = {"image": pa.array([png(3), png(4)], pa.binary()), "label": ["x", "y"]}
    images = load_images(write_parquet(tmp_path / "t.parquet", columns))
    assert images.ids.tolist() == ["row-000000", "row-000001"]
    assert [value(images, 0), value(images, 1)] == [3, 4]


@pytest.mark.parametrize("image", [pa.array([png(3), png(4)], pa.binary()), structs(2)])
def test_a_damaged_shard_is_named(tmp_path, image):
    for shard in range(2):
        path = tmp_path / f"train-{shard:05d}-of-00002.parquet"
        write_parquet(path, {"image": image, "label": ["x", "y"]})
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"cannot read .*train-0000\d-of-00002"):
        load_images(tmp_path)


def test_row_groups_threads_and_pickle(tmp_path):
    columns = {"image": structs(50), "label": ["x", "y"] * 25}
    path = write_parquet(tmp_path / "t.parquet", columns, row_group_size=7)
    images = load_images(path)
    order = np.random.default_rng(0).permutation(50)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda i: value(images, i), order)) == order.tolist()
    again = pickle.loads(pickle.dumps(images.subset(order)))
    assert [value(again, i) for i in range(50)] == order.tolist()


def test_the_cache_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("labelsieve.data.sources.CACHE_BYTES", 1)
    columns = {"image": structs(20), "label": ["x", "y"] * 10}
    images = load_images(write_parquet(tmp_path / "t.parquet", columns, row_group_size=5))
    assert [value(images, i) for i in range(20)] == list(range(20))
    assert len(images.source._cache) == 1


def test_listing_reads_no_image_bytes(tmp_path, monkeypatch):
    path = write_parquet(
        tmp_path / "t.parquet", {"image": structs(4), "label": [0, 1] * 2}, HF_LABELS
    )

    def refuse(*arguments):
        raise AssertionError("image bytes were read")

    monkeypatch.setattr("labelsieve.data.sources.ParquetSource._column", refuse)
    images = load_images(path)
    assert images.class_counts() == {"dog": 2, "cat": 2}
    assert images.location(0) is None


def test_repeated_names_of_embedded_images_are_no_conflict(tmp_path):
    columns = {"image": structs(2, path="same.png"), "label": ["x", "y"]}
    images = load_images(write_parquet(tmp_path / "t.parquet", columns))
    assert images.ids.tolist() == ["same.png", "same.png#2"]
    assert images.notes == ("1 row with a file name used before: ids end in #2, ...",)


@pytest.mark.parametrize("prefix", ["", "photos-"])
def test_shards_of_a_split(tmp_path, prefix):
    for split, k in (("train", 0), ("train", 1), ("test", 0)):
        columns = {"image": structs(3, path=f"{split}{k}-{{}}.png"), "label": [0, 1, 0]}
        write_parquet(
            tmp_path / "data" / f"{prefix}{split}-0000{k}-of-00002.parquet", columns, HF_LABELS
        )
    (tmp_path / "data" / "._train-00000-of-00002.parquet").write_bytes(b"of macOS")
    images = load_images(tmp_path)
    assert len(images) == 6
    assert value(images, 4) == 1
    assert "train-00000-of-00002.parquet and 1 more" in images.rule
    assert "split 'train'" in images.rule
    assert len(load_images(tmp_path, split="test")) == 3


def test_results_in_the_folder_of_shards_leave_them_as_they_were(tmp_path):
    for k in range(2):
        columns = {"image": structs(2, path=f"{k}-{{}}.png"), "label": ["x", "y"]}
        write_parquet(tmp_path / f"train-{k}.parquet", columns)
    write_parquet(tmp_path / "out" / "issues.parquet", {"id": ["a"]})
    assert load_images(tmp_path).ids.tolist() == ["0-0.png", "0-1.png", "1-0.png", "1-1.png"]


def test_shards_in_split_folders(tmp_path):
    for split, n in (("train", 3), ("test", 2)):
        columns = {"image": structs(n), "label": [0, 1, 0][:n]}
        write_parquet(tmp_path / split / "0000.parquet", columns, HF_LABELS)
    assert len(load_images(tmp_path)) == 3
    assert len(load_images(tmp_path, split="test")) == 2


def test_shards_of_kindred_types_are_read_as_one(tmp_path):
    kinds = (pa.array(["x"]), pa.array(["y"], pa.large_string()), pa.array(["x"]))
    for k, labels in enumerate((*kinds[:2], kinds[2].dictionary_encode())):
        write_parquet(tmp_path / f"t-{k}.parquet", {"image": structs(1), "label": labels})
    images = load_images(tmp_path)
    assert [value(images, row) for row in range(3)] == [0, 0, 0]
    assert images.given_labels.tolist() == [0, 1, 0]


def test_the_shard_at_fault_is_named(tmp_path):
    good, bad = tmp_path / "t-0.parquet", tmp_path / "t-1.parquet"
    write_parquet(good, {"image": structs(2), "label": ["x", "y"]})
    write_parquet(bad, {"image": structs(2), "class": ["x", "y"]})
    with pytest.raises(InputError, match=f"{bad} has no column 'label', which {good} has"):
        load_images(tmp_path)
    write_parquet(bad, {"image": structs(2), "label": [1, 2]})
    with pytest.raises(InputError, match=f"go together: string in {good}, int64 in {bad}; write"):
        load_images(tmp_path)
    bad.write_bytes(b"")
    with pytest.raises(InputError, match=f"cannot read {bad} as parquet"):
        load_images(tmp_path)


def test_bad_files_and_columns(tmp_path):
    path = tmp_path / "t.parquet"
    path.write_bytes(b"no parquet")
    with pytest.raises(InputError, match=r"cannot read .* as parquet"):
        load_images(path)
    write_parquet(path, {"image": [1, 2], "label": ["x", "y"]})
    with pytest.raises(InputError, match="column 'image' of type int64 holds no images"):
        load_images(path)
    write_parquet(path, {"image": structs(2), "a": [1, 2]})
    with pytest.raises(InputError, match="no label column found; name one with --label-column"):
        load_images(path)
    write_parquet(path, {"image": structs(0), "label": pa.array([], pa.string())})
    with pytest.raises(InputError, match="no images found"):
        load_images(path)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"info": {"features": {"a": 3}}}'])
def test_odd_schema_metadata_is_ignored(text):
    assert class_features(pa.schema([("a", pa.int64())], metadata={"huggingface": text})) == {}


@pytest.mark.shared
def test_human_noise_of_cifar10(shared_dir):
    path = shared_dir / "data" / "cifar10n_train.parquet"
    worse, true = load_images(path, label_column="label_worse"), load_images(path)
    assert worse.class_names[:3] == ("airplane", "automobile", "bird")
    assert 0.38 < (worse.given_labels != true.given_labels).mean() < 0.42
    assert worse.image(12_499).size == (32, 32)
