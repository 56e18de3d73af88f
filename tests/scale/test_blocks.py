"""Blocks without an engine: what is committed, checked, drawn, scored and added up."""

from __future__ import annotations

import errno
import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from digit_shards import NAMES, digits, write_shards, write_tar, write_tree

from labelsieve.backbones import extract_features, load_backbone
from labelsieve.core import arrays
from labelsieve.core.exceptions import InputError
from labelsieve.data import load_images, storage
from labelsieve.report import write_report
from labelsieve.scale import ledger as ledger_module
from labelsieve.scale import scan as scan_module
from labelsieve.scale.blocks import TarBlock, blocks_of_images, plan_digest
from labelsieve.scale.encode import encode_block, features_of, missing_blocks
from labelsieve.scale.gather import Gathered, complete
from labelsieve.scale.ledger import Ledger
from labelsieve.scale.scan import scan_on_ray
from labelsieve.scale.streamed import STREAMING, check_streamed
from labelsieve.scale.subset import draw, quotas
from labelsieve.sieve import LabelSieve, scan
from labelsieve.sieve.decision_files import read_decisions
from labelsieve.sieve.gate import check_gate, issue_tables, read_baseline, write_baseline


@pytest.fixture(scope="module")
def backbone():
    """The shipped model."""
    return load_backbone("mini-glyph", device="cpu", dtype="float32")


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch):
    """Tasks run in this process, last first, in place of Ray."""

    def run_tasks(prepare, tasks, cluster, *, use_gpu=False):
        compute = prepare()
        yield from map(compute, reversed(tasks))

    monkeypatch.setattr(scan_module, "run_tasks", run_tasks)
    monkeypatch.setattr("labelsieve.scale.streamed.run_tasks", run_tasks)


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


def write_damaged(folder: Path) -> Path:
    """Shards with a row without label, one without image, a broken one, and a truncated end."""
    write_shards(folder, digits(400), 100)
    key, _, png = digits(401)[400]
    members = [(f"{key}.png", png), ("bad.png", b"no image"), ("bad.cls", b"one")]
    write_tar(folder / "x-0.tar", [*members, ("none.cls", b"two"), *members_of("y", 20)])
    path = folder / "x-0.tar"
    path.write_bytes(path.read_bytes()[: 512 * 30 + 7])
    return folder


def members_of(prefix: str, n: int) -> list[tuple[str, bytes]]:
    found = []
    for key, label, png in digits(n):
        found += [(f"{prefix}{key}.png", png), (f"{prefix}{key}.cls", label.encode())]
    return found


@pytest.mark.parametrize("kind", ["tree", "tar"])
def test_the_scan_is_that_of_the_local_engine(tmp_path: Path, here, kind: str):
    data = tmp_path / "data"
    if kind == "tree":
        write_tree(data, digits(300))
        (data / "one" / "broken.png").write_bytes(b"no image")
        (data / "loose.png").write_bytes((digits(1)[0])[2])
    else:
        write_damaged(data)
    scan(load_images(data), tmp_path / "local", LabelSieve("mini-glyph", tuner="zero-shot"))
    sieve = LabelSieve("mini-glyph", tuner="zero-shot")
    said: list[str] = []
    scan_on_ray(str(data), tmp_path / "ray", sieve, block_rows=64, tell=said.append)
    tables = [pd.read_parquet(tmp_path / name / "issues.parquet") for name in ("local", "ray")]
    pd.testing.assert_frame_equal(*tables, rtol=0, atol=1e-5)
    if kind == "tar":
        assert any("TRUNCATED" in line for line in said)
        errors = tables[1].set_index("id")["error"].dropna()
        assert errors["none"] == "no image given"
        assert errors["0000400"] == "the label is missing"
        assert len(errors) >= 3


@pytest.mark.parametrize("detector", STREAMING)
def test_streaming_writes_what_the_fit_and_the_scorer_say(tmp_path: Path, here, detector: str):
    data = write_damaged(tmp_path / "data")
    params = {"small-loss": {"epochs": 1}, "dual-prompts": {"epochs": 1, "n_context": 2}}
    sieve = LabelSieve(
        "mini-glyph", tuner="zero-shot", detector=detector, detector_params=params.get(detector)
    )
    said: list[str] = []
    scan_on_ray(str(data), tmp_path / "o", sieve, fit_rows=250, tell=said.append)
    images = load_images(data)
    table = pd.read_parquet(tmp_path / "o" / "issues.parquet")
    assert table["id"].tolist() == images.ids.tolist()
    assert pd.read_csv(tmp_path / "o" / "issues.csv", dtype={"id": str})["id"].tolist() == (
        images.ids.tolist()
    )
    assert any("fitted to a stratified subset of" in line for line in said)

    features = extract_features(images, sieve.backbone_, cache=None, show=False)
    rows = np.flatnonzero(features.ok & images.labeled)
    found = sieve.detector_.score_features(features.features[rows], images.given_labels[rows])
    fitted = set(sieve.detector_.issues_.table["id"])
    new = np.array([images.ids[row] not in fitted for row in rows])
    assert new.sum() > 100
    scores = table["label_score"].to_numpy()[rows]
    np.testing.assert_allclose(scores[new], found.label_score[new], atol=1e-5)
    known = sieve.detector_.issues_.table.set_index("id")["label_score"]
    joined = table.set_index("id").loc[known.index, "label_score"]
    np.testing.assert_allclose(joined, known)

    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    record = json.loads((tmp_path / "o" / "run.json").read_text())
    assert summary["n_images"] == len(images) == record["data"]["n_images"]
    assert summary["n_label_issues"] == table["is_label_issue"].sum()
    assert record["scale"]["streamed"]
    assert record["scale"]["fit_rows"] == len(known)


def test_a_summary_added_up_is_that_of_the_whole(tmp_path: Path, here):
    data = write_damaged(tmp_path / "data")
    whole = LabelSieve("mini-glyph", tuner="zero-shot", detector="label-match")
    scan(load_images(data), tmp_path / "whole", whole)
    sieve = LabelSieve("mini-glyph", tuner="zero-shot", detector="label-match")
    scan_on_ray(str(data), tmp_path / "parts", sieve, fit_rows=250)
    a, b = (json.loads((tmp_path / n / "summary.json").read_text()) for n in ("whole", "parts"))
    assert list(a) == list(b)
    for name in set(a) - {"warnings", "noise_matrix_diagonal_mean"}:
        assert a[name] == pytest.approx(b[name], rel=1e-6) if name == "x" else a[name] == b[name]


def test_budget_gate_and_report_of_a_streamed_scan_are_those_of_the_whole(tmp_path: Path, here):
    data, found = write_damaged(tmp_path / "data"), {}
    for name, run in (("whole", scan), ("parts", partial(scan_on_ray, fit_rows=250))):
        sieve = LabelSieve("mini-glyph", tuner="zero-shot", detector="label-match")
        given = load_images(data) if name == "whole" else str(data)
        finish = {"finish": lambda folder, images: write_report(folder, images=images)}
        found[name] = run(given, tmp_path / name, sieve, budget=30, **finish)
    whole, parts = found["whole"], found["parts"]
    assert parts.streamed
    assert not whole.streamed
    first = [pd.read_csv(tmp_path / name / "first.csv") for name in found]
    assert len(first[0]) == 30
    pd.testing.assert_frame_equal(*first)
    assert parts.sieve.summary_["budget"] == whole.sieve.summary_["budget"]

    tables = list(issue_tables(tmp_path / "parts"))
    write_baseline(tmp_path / "a.csv", whole.sieve.issues_)
    write_baseline(tmp_path / "b.csv", tables)
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    lines = (tmp_path / "a.csv").read_text().splitlines()
    (tmp_path / "c.csv").write_text("\n".join([*lines[:30], "gone,gone,one"]) + "\n")
    for accepted in (None, read_baseline(tmp_path / "c.csv")):
        record = check_gate(whole.sieve.issues_, accepted, 0.1).record()
        assert record["n_new"] > 10
        in_pieces = [piece for t in tables for piece in (t.iloc[:99], t.iloc[99:])]
        assert check_gate(in_pieces, accepted, 0.1).record() == record

    pages = [(tmp_path / name / "report.html").read_text() for name in found]
    payloads = [page.split('id="payload">')[1].split("</script>")[0] for page in pages]
    a, b = map(json.loads, payloads)
    assert len(a["thumbs"]) > 20
    assert sum(thumb is not None for thumb in a["thumbs"]) > 20
    assert a == b


def test_a_budget_counts_what_the_streamed_rows_should_hold(tmp_path: Path, here):
    data = write_damaged(tmp_path / "data")
    sieve = LabelSieve("mini-glyph", tuner="zero-shot")
    scan_on_ray(str(data), tmp_path / "o", sieve, fit_rows=250, budget=40, self_check=0.1)
    table = pd.read_parquet(tmp_path / "o" / "issues.parquet")
    order = table[table["label_score"].notna()].sort_values("label_score", kind="stable")
    assert pd.read_csv(tmp_path / "o" / "first.csv", dtype=str)["id"].tolist() == (
        order["id"].head(40).tolist()
    )
    wrong, figures = 1 - order["p_clean"].to_numpy(), sieve.summary_["budget"]
    assert figures["errors"] == pytest.approx(wrong[:40].sum())
    assert figures["recall"] == pytest.approx(wrong[:40].sum() / wrong.sum())
    assert 0 < sieve.summary_["self_check"]["n_flipped"] <= 0.1 * 250 + 10


def test_an_empty_shard_is_no_trouble(tmp_path: Path, here):
    data = tmp_path / "s"
    shards(data)
    write_tar(data / "digits-0000-empty.tar", [])
    sieve = LabelSieve("mini-glyph", detector="label-match", tuner="zero-shot")
    scan_on_ray(
        str(data), tmp_path / "o", sieve, fit_rows=50,
        finish=lambda folder, found: write_report(folder, images=found),
    )  # fmt: skip
    table = pd.read_parquet(tmp_path / "o" / "issues.parquet")
    assert table["id"].tolist() == [f"{row:07d}" for row in range(90)]
    assert table["label_score"].notna().all()


def test_other_class_names_are_another_plan(tmp_path: Path):
    """Blocks hold labels as names: the old ones would be no class, and silently no label."""
    images = load_images(write_tree(tmp_path / "tree", digits(20)))
    renamed = images.with_labels(images.given_labels, [f"a {name}" for name in images.class_names])
    digests = {plan_digest(blocks_of_images(one, 10)) for one in (images, renamed)}
    assert len(digests) == 2


def test_decisions_of_a_streamed_scan_are_refused_with_a_way_out(tmp_path: Path, here):
    data = tmp_path / "s"
    shards(data)
    table = tmp_path / "d.csv"
    table.write_text("id,action,label\n0000001,keep,\n")
    with pytest.raises(InputError, match=r"90 rows .*--fit-rows 50, and --decisions .*apply"):
        scan_on_ray(
            str(data), tmp_path / "o", LabelSieve("mini-glyph"), fit_rows=50,
            decisions=read_decisions(table),
        )  # fmt: skip


def test_detectors_that_need_all_rows_say_so(tmp_path: Path, here):
    data = tmp_path / "s"
    shards(data)
    with pytest.raises(InputError, match=r"90 rows are more than --fit-rows 50, and .* knn"):
        scan_on_ray(
            str(data), tmp_path / "o", LabelSieve("mini-glyph", detector="knn"), fit_rows=50
        )


@pytest.mark.parametrize("params", [{"visual_tuning": "lora"}, {"mask": "last-epoch"}])
def test_arguments_that_need_all_rows_are_told_before_the_fit(params):
    sieve = LabelSieve("mini-glyph", detector="dual-prompts", detector_params=params)
    with pytest.raises(InputError, match=r"dual-prompts judges only .*raise --fit-rows over 90"):
        check_streamed(sieve, None, 90, 50)
    check_streamed(sieve.set_params(detector_params={"epochs": 2}), None, 90, 50)


def test_features_round_trip():
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    column = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), 4)
    np.testing.assert_array_equal(features_of(pa.table({"features": column})), x)
