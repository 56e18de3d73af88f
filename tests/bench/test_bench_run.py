"""Cells: shared noise with a hash, lone failures, resuming, verdicts of a detector before."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from labelsieve.bench import measure_classifier, noise_files
from labelsieve.bench.cells import expand
from labelsieve.bench.evaluate import evaluate
from labelsieve.bench.measure_detector import detector_metrics
from labelsieve.bench.metrics import detection_metrics
from labelsieve.bench.noise_files import NoisySet, content_hash, noise_path, read_noisy
from labelsieve.bench.results import load_results, save_suite, write_results
from labelsieve.bench.run import (
    _check_out,
    _contents,
    _crashed,
    _is_missing,
    _one_dtype,
    plan,
    run_suite,
)
from labelsieve.bench.sources import Places, all_training_images, chosen_rows, test_images
from labelsieve.bench.suite_load import parse_suite
from labelsieve.bench.tasks import Settings
from labelsieve.bench.worker import run_task
from labelsieve.core.cluster import Cluster
from labelsieve.core.exceptions import InputError
from labelsieve.data import load_images
from labelsieve.tuners.zero_shot import ZeroShot
from problems import png, write_colour_tree

test_images.__test__ = False  # a function of the package, not a test


def suite_text(train, test, model, methods, noise="symmetric: {kind: symmetric, rate: 0.25}"):
    return f"""
name: tiny
seeds: [0]
models: {{tiny: {model}}}
data: {{colours: {{train: "{train}", test: "{test}"}}}}
noise:
  {noise}
methods:
{methods}
"""


METHODS = """
  label-match: {detector: label-match}
  small-loss, known: {detector: small-loss, params: {noise_rate: $noise_rate, epochs: 1}}
  cleanlab: {peer: cleanlab, params: {n_folds: 2}}
  zero-shot: {tuner: zero-shot}
  coop kept: {tuner: coop, params: {epochs: 1}, after: label-match}
  fft: {adapt: ce, params: {epochs: 1}}
"""


@pytest.fixture
def places(tmp_path):
    return Places(tmp_path / "results", str(tmp_path))


@pytest.fixture
def suite(tmp_path, tiny_clip_dir):
    write_colour_tree(tmp_path / "train")
    write_colour_tree(tmp_path / "test", per_class=6, seed=1)
    text = suite_text("${root}/train", "${root}/test", tiny_clip_dir, METHODS)
    return parse_suite(text)


def run_here(suite, places, cells=None):
    """The tasks of a suite in this process."""
    settings = Settings(places, device="cpu", dtype="float32")
    places.results.mkdir(exist_ok=True)
    save_suite(suite, places.results)
    for task in plan(cells or expand(suite), places):
        run_task(task, settings)
    return write_results(suite, places.results)


def test_every_kind_of_method_gives_a_row(suite, places):
    table = run_here(suite, places)
    assert table["status"].tolist() == ["ok"] * 6, table["error"].tolist()
    rows = table.set_index("method")
    assert rows["noise_rate"].unique() == pytest.approx([10 / 42], abs=0.01)
    assert rows["noise_hash"].nunique() == 1
    detectors = rows.loc[["label-match", "small-loss, known", "cleanlab"]]
    assert detectors["average_precision"].between(0, 1).all()
    assert rows.loc["small-loss, known", "n_flagged"] == rows.loc["small-loss, known", "n_wrong"]
    classifiers = rows.loc[["zero-shot", "coop kept", "fft"]]
    assert classifiers["accuracy"].between(0, 1).all()
    kept = 42 - rows.loc["label-match", "n_flagged"]
    assert rows.loc["coop kept", "n_labels"] == kept
    assert rows.loc["coop kept", "seconds_after"] == rows.loc["label-match", "seconds_fit"]
    assert (rows["peak_memory_mb"] > 10).all()
    assert not (places.results / "cells" / rows.loc["fft", "cell"] / "model").exists()
    again, _ = load_results(places.results)
    assert again.methods.keys() == suite.methods.keys()


def test_figures_are_those_of_the_saved_table(suite, places):
    cell = next(c for c in expand(suite) if c.method.name == "label-match")
    run_here(suite, places, [cell])
    record = json.loads((places.results / "cells" / cell.key / "record.json").read_text())
    issues = pd.read_parquet(places.results / "cells" / cell.key / "issues.parquet")
    assert "truth" not in issues
    noisy = read_noisy(cell, places)
    expected = detection_metrics(
        issues["label_score"].to_numpy(), issues["is_label_issue"].to_numpy(bool), noisy.is_wrong
    )
    assert record | expected == record


def test_noise_is_drawn_once_and_a_changed_file_is_refused(suite, places):
    cells = expand(suite)
    assert len({c.noise_key for c in cells}) == 1
    run_here(suite, places, cells[:1])
    path = noise_path(places, cells[0].noise_key)
    drawn = path.read_bytes()
    assert [t.kind for t in plan(cells, places)].count("noise") == 0
    table = pd.read_parquet(path)
    assert content_hash(table) == json.loads(path.with_suffix(".json").read_text())["hash"]
    assert (table["given"] != table["truth"]).sum() == 10
    path.unlink()
    run_here(suite, places, cells[:1])
    assert pd.read_parquet(path).equals(table)
    table.loc[0, "given"] = (table.loc[0, "given"] + 1) % 3
    table.to_parquet(path, index=False)
    with pytest.raises(InputError, match="is damaged"):
        read_noisy(cells[0], places)
    path.write_bytes(drawn)
    read_noisy(cells[0], places)
    record = path.with_suffix(".json").read_text()
    other = table.assign(given=pd.read_parquet(path)["given"])
    other.loc[0, "truth"] = (other.loc[0, "truth"] + 1) % 3  # as if a label of the data changed
    other.to_parquet(path, index=False)
    known = json.loads(record) | {"hash": content_hash(other)}
    path.with_suffix(".json").write_text(json.dumps(known))
    with pytest.raises(InputError, match="changed since"):
        read_noisy(cells[0], places)
    path.write_bytes(drawn)
    path.with_suffix(".json").write_text(record)
    (places.results.parent / "train" / "red" / "red-00.png").rename(
        places.results.parent / "train" / "red" / "a.png"
    )
    with pytest.raises(InputError, match="changed since"):
        read_noisy(cells[0], places)


def test_a_failure_stays_alone_and_is_told(suite, places, tmp_path, tiny_clip_dir):
    methods = """
  good: {detector: label-match}
  broken: {detector: dual-prompts, params: {initial_text: " "}}
  coop after: {tuner: coop, after: broken}
"""
    text = suite_text(tmp_path / "train", tmp_path / "test", tiny_clip_dir, methods)
    suite = parse_suite(text)
    table = run_here(suite, places).set_index("method")
    assert table["status"].to_list() == ["ok", "failed", "failed"]
    assert "holds no token" in table.loc["broken", "error"]
    assert (
        "broken, which comes before it, failed: InputError: initial_text"
        in table.loc["coop after", "error"]
    )
    folder = places.results / "cells" / table.loc["broken", "cell"]
    assert "Traceback" in (folder / "traceback.txt").read_text()
    cells = {c.method.name: c for c in expand(suite)}
    results = places.results
    assert [_is_missing(c, results, False) for c in cells.values()] == [False] * 3
    assert {n for n, c in cells.items() if _is_missing(c, results, True)} == {
        "broken",
        "coop after",
    }


def test_noise_that_cannot_be_made_fails_its_cells(tmp_path, places, tiny_clip_dir):
    write_colour_tree(tmp_path / "train")
    text = suite_text(
        tmp_path / "train", tmp_path / "train", tiny_clip_dir, "  k: {detector: knn}",
        noise="human: {column: who, file: no.parquet}",
    )  # fmt: skip
    table = run_here(parse_suite(text), places)
    assert table["status"].tolist() == ["failed"]
    assert "noisy labels could not be made" in table["error"][0]
    assert "no.parquet" in table["error"][0]


def test_human_labels_of_another_table_must_agree_on_the_truth(suite, places, tmp_path):
    images = all_training_images(next(iter(suite.data.values())), places)
    truth = images.given_labels
    labels = pd.DataFrame({"who": np.roll(truth, 3), "truth": truth})
    labels.to_parquet(tmp_path / "human.parquet", index=False)
    cell = expand(suite)[0]
    noise = replace(
        cell.noise, kind=None, rate=None, column="who", file="${root}/human.parquet",
        truth_column="truth",
    )  # fmt: skip
    cell = replace(cell, noise=noise, noise_key="human")
    run_here(suite, places, [cell])
    assert (read_noisy(cell, places).images.given_labels == np.roll(truth, 3)).all()
    labels.iloc[::-1].to_parquet(tmp_path / "human.parquet", index=False)
    cell = replace(cell, noise_key="reversed")
    run_here(suite, places, [cell])
    with pytest.raises(InputError, match="rows are in another order than the images"):
        read_noisy(cell, places)


def test_images_without_a_human_label_are_left_out(places, tmp_path, tiny_clip_dir):
    names = ["cat", "dog"] * 10
    crowd = [None, "dog", "dog", *names[3:]]  # one image without a label, one wrong label
    table = pd.DataFrame({"id": [f"i{k}" for k in range(20)], "label": names, "crowd": crowd})
    table["image"] = [{"bytes": png((k, 9, 9)), "path": None} for k in range(20)]
    table.to_parquet(tmp_path / "crowd.parquet", index=False)
    suite = parse_suite(
        suite_text("${root}/crowd.parquet", "unused", tiny_clip_dir, "  knn: {detector: knn}")
        .replace('test: "unused"', "label_column: label")
        .replace("symmetric: {kind: symmetric, rate: 0.25}", "crowd: {column: crowd}")
    )
    row = run_here(suite, places).iloc[0]
    assert (row["status"], row["n_train"], row["n_wrong"]) == ("ok", 19, 1), row["error"]
    assert row["noise_rate"] == pytest.approx(1 / 19)
    noisy = read_noisy(expand(suite)[0], places)
    assert noisy.images.ids[noisy.is_wrong].tolist() == ["i2"]


def test_few_shots_with_noise_are_drawn_from_the_images_of_the_seed(suite, places):
    cell = expand(suite)[0]
    data = replace(cell.data, images=30, shots=4)
    noise = replace(cell.noise, kind="few-shot", rate=None, wrong=1)
    cell = replace(cell, data=data, noise=noise, noise_key="few of 30", seed=1)
    run_here(suite, places, [cell])
    drawn = read_noisy(cell, places).images.ids
    images = all_training_images(data, places)
    pool = images.ids[chosen_rows(replace(data, shots=None), images.given_labels, 1)]
    assert len(pool) == 30
    assert len(drawn) == 12
    assert set(drawn) <= set(pool)


def test_few_shot_noise_has_exact_counts(suite, places, tmp_path):
    data = replace(next(iter(suite.data.values())), shots=4)
    cell = expand(suite)[0]
    noise = replace(cell.noise, kind="few-shot", rate=None, wrong=1)
    for confusions, key in ((None, "drawn"), (cell.model.id, "confused")):
        cell = replace(cell, data=data, noise=replace(noise, confusions=confusions), noise_key=key)
        run_here(suite, places, [cell])
        noisy = read_noisy(cell, places)
        given = noisy.images.given_labels
        assert np.bincount(given).tolist() == [4, 4, 4]
        assert np.bincount(given[noisy.is_wrong], minlength=3).tolist() == [1, 1, 1]


def test_truth_is_known_to_the_scores_alone(suite, places, tiny_backbone, monkeypatch):
    cell = next(c for c in expand(suite) if c.method.name == "label-match")
    first = run_here(suite, places, [cell])
    folder = places.results / "cells" / cell.key
    before = pd.read_parquet(folder / "issues.parquet")
    path = noise_path(places, cell.noise_key)
    table = pd.read_parquet(path)
    table["truth"] = np.roll(table["truth"], 7)
    table.to_parquet(path, index=False)
    record = json.loads(path.with_suffix(".json").read_text()) | {"hash": content_hash(table)}
    path.with_suffix(".json").write_text(json.dumps(record))
    whole = noise_files.all_training_images

    def rolled(data, places):
        images = whole(data, places)
        labels = images.given_labels.copy()
        labels[table["row"]] = table["truth"]
        return images.with_labels(labels)

    monkeypatch.setattr(noise_files, "all_training_images", rolled)  # else a change is refused
    again = run_here(suite, places, [cell])
    measured = [table.loc[table["method"] == "label-match"].iloc[0] for table in (first, again)]
    assert [row["status"] for row in measured] == ["ok", "ok"]
    assert measured[0]["f1"] != measured[1]["f1"]
    pd.testing.assert_frame_equal(pd.read_parquet(folder / "issues.parquet"), before)


def test_a_perfect_detector_has_no_error(tmp_path):
    images = load_images(write_colour_tree(tmp_path / "t"))
    truth = images.given_labels
    given = np.where(np.arange(len(truth)) % 6 == 0, (truth + 1) % 3, truth)
    wrong = given != truth

    class Perfect:
        label_score_ = np.where(wrong, 0.0, 1.0)
        is_label_issue_ = wrong
        p_clean_ = (~wrong).astype(float)
        probabilities_ = np.eye(3)[truth]

    got = detector_metrics(Perfect(), NoisySet(images.with_labels(given), truth, ""))
    assert (got["f1"], got["clean_f1"], got["average_precision"], got["auroc"]) == (1, 1, 1, 1)
    assert got["precision_at_10_percent"] == got["prediction_accuracy"] == 1
    assert got["p_clean_calibration_error"] == 0
    assert got["noise_rate_error"] == pytest.approx(0)
    assert got["noise_rate_low"] < wrong.mean() < got["noise_rate_high"]
    assert got["noise_rate_covered"] is True
    assert (got["promised_precision"], got["promised_recall"]) == (1, 1)
    # the estimate carries one pseudo-count, so it is near and not exact
    assert got["noise_matrix_total_variation"] < 0.02


def test_a_classifier_is_not_measured_without_labels(tmp_path, tiny_backbone):
    images = load_images(write_colour_tree(tmp_path, per_class=3))
    tuner = ZeroShot(tiny_backbone).fit(images)
    assert evaluate(tuner, images)["n"] == 9
    with pytest.raises(InputError, match="none of the 9 images has a label"):
        evaluate(tuner, images.with_labels(np.full(9, -1)))


def test_cells_are_known_by_the_content_of_the_files_that_a_suite_names(tmp_path, places):
    noise = 'drawn: {kind: class-dependent, matrix: "${root}/matrix.csv"}\n  none: {kind: none}'
    suite = parse_suite(suite_text("a", "b", "m", "  knn: {detector: knn}", noise))

    def keys():
        found = replace(suite, contents=_contents(suite, places))
        save_suite(found, places.results)
        again, _ = load_results(places.results)
        assert [c.key for c in expand(again)] == [c.key for c in expand(found)]
        return {c.noise.name: (c.key, c.noise_key) for c in expand(found)}

    (tmp_path / "matrix.csv").write_text("first")
    first = keys()
    (tmp_path / "matrix.csv").write_text("second")
    second = keys()
    assert second["none"] == first["none"]
    assert second["drawn"][0] != first["drawn"][0]
    assert second["drawn"][1] != first["drawn"][1]
    (tmp_path / "matrix.csv").unlink()  # a report, or a run of what is done, needs no data
    assert keys() == second
    (tmp_path / "matrix.csv").write_text("first")
    assert keys() == first


def test_another_precision_is_another_cell_and_another_device_is_not(places, suite):
    cells = {dtype: expand(replace(suite, dtype=dtype)) for dtype in ("float32", "bfloat16")}
    assert not {c.key for c in cells["float32"]} & {c.key for c in cells["bfloat16"]}
    assert {c.noise_key for c in cells["float32"]} == {c.noise_key for c in cells["bfloat16"]}
    assert _one_dtype("auto", "cpu", None) == "float32"
    assert _one_dtype("bfloat16", "cpu", None) == "bfloat16"
    assert _one_dtype("auto", "cuda:99", Cluster()) == "float32"  # the workers may have it
    # Before the first cell: a failed one would be taken for done by the next call.
    for name in ("device", "dtype"):
        with pytest.raises(InputError, match=f"unknown {name} 'gpu'; choose one of auto"):
            run_suite(suite, places.results, **{name: "gpu"})
    assert not places.results.exists()


def test_another_model_to_fine_tune_gets_device_and_precision_of_the_run(
    suite, places, tiny_backbone, monkeypatch
):
    method = replace(suite.methods["fft"], backbone="other")
    cell = expand(replace(suite, methods={"fft": method}))[0]
    given = {}

    def stop(*args, **options):
        given.update(options)
        raise InputError("seen")

    monkeypatch.setattr(measure_classifier, "adapt", stop)
    noisy = SimpleNamespace(images=None, is_wrong=np.zeros(3))
    with pytest.raises(InputError, match="seen"):
        measure_classifier._adapt(cell, noisy, tiny_backbone, None, places.results, {}, places)
    assert [given[name] for name in ("backbone", "device", "dtype")] == ["other", "cpu", "float32"]


def test_a_process_that_dies_is_a_record(suite, places):
    cell = expand(suite)[0]
    record = _crashed(cell, -9, Settings(places))
    assert "signal 9 (signal 9 is often a lack of memory: use fewer --jobs)" in record["error"]
    save_suite(suite, places.results)
    assert write_results(suite, places.results)["status"].tolist() == ["failed"] + ["missing"] * 5


def test_a_folder_of_something_else_is_left_alone(tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="holds files that are not of a benchmark"):
        _check_out(tmp_path)
    with pytest.raises(InputError, match="holds no results of a benchmark"):
        load_results(tmp_path)
    with pytest.raises(InputError, match="give --data-root DIR or set LABELSIEVE_DATA_ROOT"):
        Places(tmp_path).path("${root}/x")
