"""Blocks without an engine: what is committed, checked and drawn."""

from __future__ import annotations

import errno
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from digit_shards import NAMES, digits, write_shards, write_tree

from labelsieve.backbones import extract_features, load_backbone
from labelsieve.core import arrays
from labelsieve.core.exceptions import InputError
from labelsieve.data import load_images, storage
from labelsieve.scale import ledger as ledger_module
from labelsieve.scale.blocks import TarBlock, blocks_of_images, plan_digest
from labelsieve.scale.encode import encode_block, features_of, missing_blocks
from labelsieve.scale.gather import Gathered, complete
from labelsieve.scale.ledger import Ledger
from labelsieve.scale.subset import draw, quotas


@pytest.fixture(scope="module")
def backbone():
    """The shipped model."""
    return load_backbone("mini-glyph", device="cpu", dtype="float32")


def encode_all(blocks, backbone, folder: Path) -> Gathered:
    ledger = Ledger(folder)
    ledger.claim(plan_digest(blocks), {})
    results = [encode_block(block, backbone, ledger) for block in blocks]
    failures = {r["block"]: r["failure"] for r in results if "failure" in r}
    return Gathered(ledger, complete(ledger, blocks, failures), blocks)


def shards(folder: Path, n: int = 90, per_shard: int = 30) -> list[TarBlock]:
    paths = write_shards(folder, digits(n), per_shard)
    return [TarBlock(number, str(path)) for number, path in enumerate(paths)]


def test_features_are_those_of_one_process(tmp_path: Path, backbone, monkeypatch):
    images = load_images(write_tree(tmp_path / "tree", digits(100)))
    found = encode_all(blocks_of_images(images, 37), backbone, tmp_path / "f")
    assert [record["rows"] for record in found.records] == [37, 37, 26]
    whole = extract_features(images, backbone, cache=None, show=False)
    np.testing.assert_allclose(found.features().features, whole.features, atol=1e-6)
    monkeypatch.setattr(arrays, "SHARE_OF_MEMORY", 0.0)
    in_a_file = found.features().features
    assert isinstance(in_a_file, np.memmap)
    np.testing.assert_allclose(in_a_file, whole.features, atol=1e-6)
    found.check_ids(images)


def test_a_second_run_computes_nothing_and_bytes_do_not_depend_on_order(tmp_path: Path, backbone):
    blocks = shards(tmp_path / "s")
    first = encode_all(blocks, backbone, tmp_path / "a")
    again = encode_all(blocks, backbone, tmp_path / "a")
    assert again.ledger.starts() == 3
    other = encode_all(list(reversed(blocks)), backbone, tmp_path / "b")
    for number in range(3):
        assert first.ledger.data(number).read_bytes() == other.ledger.data(number).read_bytes()


def test_a_full_disk_commits_nothing_and_is_told(tmp_path: Path, backbone, monkeypatch):
    blocks = shards(tmp_path / "s")

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(ledger_module.pq, "write_table", full)
        with pytest.raises(InputError, match=r"(?s)3 of 3 blocks .* No space left on device"):
            encode_all(blocks, backbone, tmp_path / "f")
    assert sorted(path.name for path in (tmp_path / "f").iterdir()) == ["plan.json", "starts.log"]
    assert encode_all(blocks, backbone, tmp_path / "f").n_rows == 90


def test_damage_is_found_and_only_that_block_is_redone(tmp_path: Path, backbone):
    found = encode_all(shards(tmp_path / "s"), backbone, tmp_path / "f")
    path = found.ledger.data(1)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"block-000001\.parquet is damaged"):
        found.check_ids(None)
    redone = encode_all(found.blocks, backbone, tmp_path / "f")
    assert redone.ledger.starts() == 4
    assert redone.records == found.records


def test_a_block_that_storage_denies_is_not_committed(tmp_path: Path, backbone, monkeypatch):
    images = load_images(write_tree(tmp_path / "tree", digits(60)))

    def deny(self, index):
        return storage.retried(partial(_raise, OSError("503")), "s3://x")

    monkeypatch.setattr(storage.time, "sleep", lambda _: None)
    with monkeypatch.context() as patch:
        patch.setattr("labelsieve.data.sources.FileSource.read_bytes", deny)
        with pytest.raises(
            InputError, match=r"(?s)1 of 1 blocks.*60 of 60 images: storage failed 6"
        ):
            encode_all(blocks_of_images(images, 100), backbone, tmp_path / "f")
    found = encode_all(blocks_of_images(images, 100), backbone, tmp_path / "f")
    assert found.records[0]["unreadable"] == 0


def _raise(error: Exception):
    raise error


def test_a_vanished_file_is_a_row(tmp_path: Path, backbone):
    images = load_images(write_tree(tmp_path / "tree", digits(60)))
    gone = Path(str(images.location(7)))
    gone.unlink()
    found = encode_all(blocks_of_images(images, 40), backbone, tmp_path / "f")
    assert found.features().errors == {7: f"file not found: {gone}"}
    assert found.n_rows == 60


@pytest.mark.parametrize("kind", ["tree", "parquet"])
def test_images_that_changed_since_are_encoded_again(kind, tmp_path: Path, backbone, caplog):
    tree = write_tree(tmp_path / "tree", digits(60))
    if kind == "parquet":
        images = load_images(tree)
        cells = [images.read_bytes(row) for row in range(60)]
        names = [images.class_names[k] for k in images.given_labels]
        table = pd.DataFrame({"image": cells, "label": names})
        table.to_parquet(tmp_path / "t.parquet")
    source = tree if kind == "tree" else tmp_path / "t.parquet"
    blocks = blocks_of_images(load_images(source), 20)
    first = encode_all(blocks, backbone, tmp_path / "f")
    assert missing_blocks(blocks, first.ledger) == []
    if kind == "tree":
        changed = Path(blocks[1].images.location(3))
        changed.write_bytes(Path(blocks[0].images.location(0)).read_bytes() + b"more")
    else:
        table.loc[23, "image"] = table.loc[0, "image"]
        table.to_parquet(source)
    blocks = blocks_of_images(load_images(source), 20)
    todo = missing_blocks(blocks, first.ledger)
    assert [block.number for block in todo] == ([1] if kind == "tree" else [0, 1, 2])
    assert f"images of {len(todo)} blocks have changed since" in caplog.text
    # Given up before they are computed: a failure must not bring the old features back.
    assert all(first.ledger.record(block.number) is None for block in todo)
    found = encode_all(blocks, backbone, tmp_path / "f").features().features
    whole = extract_features(load_images(source), backbone, cache=None, show=False).features
    np.testing.assert_allclose(found, whole, atol=1e-6)
    assert missing_blocks(blocks, first.ledger) == []


def test_ids_in_two_shards_name_both(tmp_path: Path, backbone):
    blocks = shards(tmp_path / "s")
    copy = tmp_path / "s" / "zz-copy.tar"
    copy.write_bytes(Path(blocks[0].shard).read_bytes())
    found = encode_all([*blocks, TarBlock(3, str(copy))], backbone, tmp_path / "f")
    with pytest.raises(InputError, match=r"30 ids .*digits-0000\.tar and .*zz-copy\.tar"):
        found.check_ids(None)


def test_another_plan_is_refused(tmp_path: Path):
    ledger = Ledger(tmp_path / "f")
    ledger.claim("a", {"model": "x"})
    ledger.claim("a", {"model": "x"})
    with pytest.raises(InputError, match=r"different: \{'model': 'y'\}.*--force"):
        ledger.claim("b", {"model": "y"})


def test_the_subset_is_stratified_seeded_and_independent_of_block_order(tmp_path: Path, backbone):
    found = encode_all(shards(tmp_path / "s", 600, 100), backbone, tmp_path / "f")
    codes = {name: k for k, name in enumerate(NAMES)}
    drawn = draw(found, codes, 10, 300, seed=3)
    labels = np.array([codes[label] for _, label, _ in digits(600)])
    expected = quotas(np.bincount(labels), 300)
    assert np.bincount(labels[drawn.rows]).tolist() == expected.tolist()
    assert (np.diff(drawn.rows) > 0).all()
    np.testing.assert_array_equal(drawn.features, found.features().features[drawn.rows])
    assert draw(found, codes, 10, 300, seed=3).rows.tolist() == drawn.rows.tolist()
    assert draw(found, codes, 10, 300, seed=4).rows.tolist() != drawn.rows.tolist()


def test_quotas_keep_small_classes():
    assert quotas(np.array([1000, 10, 100]), 111).tolist() == [100, 10, 20]


def test_other_class_names_are_another_plan(tmp_path: Path):
    """Blocks hold labels as names: the old ones would be no class, and silently no label."""
    images = load_images(write_tree(tmp_path / "tree", digits(20)))
    renamed = images.with_labels(images.given_labels, [f"a {name}" for name in images.class_names])
    digests = {plan_digest(blocks_of_images(one, 10)) for one in (images, renamed)}
    assert len(digests) == 2


def test_features_round_trip():
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    column = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), 4)
    np.testing.assert_array_equal(features_of(pa.table({"features": column})), x)
