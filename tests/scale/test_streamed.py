"""Whole scans by blocks, without an engine: scored, streamed and added up as by one process."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from digit_shards import digits, write_shards, write_tar, write_tree

from labelsieve.backbones import extract_features
from labelsieve.core.exceptions import InputError
from labelsieve.data import load_images
from labelsieve.report import write_report
from labelsieve.scale import scan as scan_module
from labelsieve.scale.scan import scan_on_ray
from labelsieve.scale.streamed import STREAMING, check_streamed
from labelsieve.sieve import LabelSieve, scan
from labelsieve.sieve.decision_files import read_decisions
from labelsieve.sieve.gate import check_gate, issue_tables, read_baseline, write_baseline


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch):
    """Tasks run in this process, last first, in place of Ray."""

    def run_tasks(prepare, tasks, cluster, *, use_gpu=False):
        compute = prepare()
        yield from map(compute, reversed(tasks))

    monkeypatch.setattr(scan_module, "run_tasks", run_tasks)
    monkeypatch.setattr("labelsieve.scale.streamed.run_tasks", run_tasks)


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
    write_shards(data, digits(90), 30)
    write_tar(data / "digits-0000-empty.tar", [])
    sieve = LabelSieve("mini-glyph", detector="label-match", tuner="zero-shot")
    scan_on_ray(
        str(data), tmp_path / "o", sieve, fit_rows=50,
        finish=lambda folder, found: write_report(folder, images=found),
    )  # fmt: skip
    table = pd.read_parquet(tmp_path / "o" / "issues.parquet")
    assert table["id"].tolist() == [f"{row:07d}" for row in range(90)]
    assert table["label_score"].notna().all()


def test_decisions_of_a_streamed_scan_are_refused_with_a_way_out(tmp_path: Path, here):
    data = tmp_path / "s"
    write_shards(data, digits(90), 30)
    table = tmp_path / "d.csv"
    table.write_text("id,action,label\n0000001,keep,\n")
    with pytest.raises(InputError, match=r"90 rows .*--fit-rows 50, and --decisions .*apply"):
        scan_on_ray(
            str(data), tmp_path / "o", LabelSieve("mini-glyph"), fit_rows=50,
            decisions=read_decisions(table),
        )  # fmt: skip


def test_detectors_that_need_all_rows_say_so(tmp_path: Path, here):
    data = tmp_path / "s"
    write_shards(data, digits(90), 30)
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
