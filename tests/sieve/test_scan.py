"""A scan as a user meets it: its files, its resume after a kill, its refusals."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from labelsieve.core.exceptions import InputError, ModelUnavailableError
from labelsieve.data import load_images
from labelsieve.detectors import DETECTORS, LabelIssues
from labelsieve.sieve import LabelSieve, scan
from labelsieve.sieve.adapt import adapt
from labelsieve.sieve.predict import predict_file
from labelsieve.sieve.reopen import images_of_scan
from labelsieve.sieve.tune import tune
from labelsieve.tuners import TUNERS, load_tuner
from problems import png, write_colour_tree

FILES = {
    "issues.parquet",
    "issues.csv",
    "summary.json",
    "noise_matrix.csv",
    "classes.json",
    "run.json",
    "model",
}


@pytest.fixture
def images(tmp_path):
    return load_images(write_colour_tree(tmp_path / "photos"))


def test_all_files_agree(images, tmp_path, tiny_backbone, tiny_clip_dir):
    result = scan(images, tmp_path / "out", LabelSieve(tiny_backbone), command="typed")
    out = result.folder
    assert {p.name for p in out.iterdir()} == FILES
    table = pd.read_parquet(out / "issues.parquet")
    assert table["id"].tolist() == images.ids.tolist()
    assert len(pd.read_csv(out / "issues.csv")) == len(images)
    summary = json.loads((out / "summary.json").read_text())
    assert summary["n_label_issues"] == table["is_label_issue"].sum()
    assert sum(summary["actions"].values()) == summary["n_images"] == len(images)
    low, high = summary["noise_rate"]["interval"]
    assert low <= summary["noise_rate"]["estimate"] <= high
    matrix = pd.read_csv(out / "noise_matrix.csv", index_col=0)
    assert list(matrix.columns) == list(images.class_names) == list(matrix.index)
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0)
    run = json.loads((out / "run.json").read_text())
    assert run["command"] == "typed"
    assert run["seed"] == 0
    assert run["model"]["id"] == tiny_backbone.model_id
    assert run["config"]["model"] == str(tiny_clip_dir)  # by its name alone no scan can repeat it


@pytest.mark.parametrize("detector", DETECTORS.names())
def test_every_detector_scans(detector, images, tmp_path, tiny_backbone):
    sieve = LabelSieve(tiny_backbone, detector=detector, tuner="zero-shot")
    found = scan(images, tmp_path / "out", sieve).sieve
    assert set(found.issues_.table["detector"]) == {detector}
    assert found.classifier_.predict(images).shape == (42,)


@pytest.mark.parametrize("tuner", ["fft", "vpt", "vlpt"])
def test_a_tuner_that_looks_at_pixels_is_fitted_to_the_labels_that_passed(
    tuner, images, tmp_path, tiny_backbone
):
    params = {"epochs": 1}
    sieve = LabelSieve(tiny_backbone, detector="label-match", tuner=tuner, tuner_params=params)
    out = scan(images, tmp_path / "out", sieve).folder
    kept = images.with_labels(sieve.kept_labels_)
    expected = TUNERS.get(tuner)(tiny_backbone, **params).fit(kept).predict_proba(images)
    found = load_tuner(out, backbone=tiny_backbone).predict_proba(images)
    np.testing.assert_array_equal(found, expected)


def test_the_classifier_of_the_detector_is_the_one_that_is_saved(images, tmp_path, tiny_backbone):
    params = {"visual_tuning": "lora", "visual_tuning_params": {"r": 2}, "epochs": 2}
    sieve = LabelSieve(tiny_backbone, detector="dual-prompts", detector_params=params)
    out = scan(images, tmp_path / "out", sieve).folder
    assert sieve.classifier_ is sieve.detector_.classifier_
    config = json.loads((out / "model" / "config.json").read_text())
    assert config["params"]["visual_tuning"] == "lora"
    loaded = load_tuner(out, backbone=tiny_backbone)
    np.testing.assert_array_equal(
        loaded.predict_proba(images), sieve.classifier_.predict_proba(images)
    )
    dropped = sieve.issues_.table["action"] == "drop"
    pairs = json.loads((out / "summary.json").read_text())["per_pair"]
    assert sum(pair["n"] for pair in pairs) == sieve.issues_.n_issues - dropped.sum()
    matrix = pd.read_csv(out / "noise_matrix.csv", index_col=0)
    np.testing.assert_allclose(matrix.to_numpy(), sieve.detector_.noise_matrix_)
    given = LabelSieve(tiny_backbone, detector="dual-prompts", tuner="zero-shot").fit(images)
    assert given.classifier_.name == "zero-shot"


def test_adapting_the_encoder_needs_a_detector_that_does(tiny_backbone):
    sieve = LabelSieve(tiny_backbone, detector="knn", detector_params={"visual_tuning": "lora"})
    with pytest.raises(InputError, match="--detector dual-prompts"):
        sieve.fit("anywhere")


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("vpt", None, "unknown visual tuning 'vpt'; choose one of none, vpt-shallow"),
        ("lora", {"rank": 4}, "'lora' has no parameter rank; it takes r, alpha"),
        ("lora", 4, r"are a mapping such as \{n_prompts: 10\}, not 4"),
    ],
)
def test_a_wrong_visual_tuning_is_told_before_anything_is_read(name, params, message):
    given = {"visual_tuning": name, "visual_tuning_params": params}
    with pytest.raises(InputError, match=message):
        LabelSieve(detector="dual-prompts", detector_params=given).fit("anywhere")


def test_a_carriage_return_in_a_name_is_no_end_of_a_row(tmp_path, tiny_backbone):
    root = write_colour_tree(tmp_path / "photos")
    next((root / "red").glob("*.png")).rename(root / "red" / "odd\rname.png")
    images = load_images(root)
    sieve = LabelSieve(tiny_backbone, detector="label-match", tuner="zero-shot")
    out = scan(images, tmp_path / "out", sieve, budget=42).folder
    for name in ("issues.csv", "first.csv"):
        with (out / name).open(encoding="utf-8", newline="") as file:
            ids = [row["id"] for row in csv.DictReader(file)]
        assert sorted(ids) == sorted(images.ids)


def test_one_corrupt_file_costs_one_row(tmp_path, tiny_backbone):
    root = write_colour_tree(tmp_path / "photos")
    clean = LabelSieve(tiny_backbone).fit(root).issues_.table
    (root / "red" / "zzz.png").write_bytes(png()[:40])
    table = LabelSieve(tiny_backbone).fit(root).issues_.table
    broken = table[table["file_name"] == "red/zzz.png"].iloc[0]
    assert broken["action"] == "unreadable"
    assert broken["error"]
    rest = table[table["file_name"] != "red/zzz.png"].reset_index(drop=True)
    pd.testing.assert_frame_equal(rest, clean)


def test_hostile_names_survive(tmp_path):
    names = ['a"quoted"', "<script>alert(1)</script>", "grün 日本", "n" * 300]
    rng = np.random.default_rng(0)
    rows = [
        {"image": {"bytes": png(tuple(rng.integers(256, size=3))), "path": f"{i}.png"},
         "label": names[i % 4]}
        for i in range(24)
    ]  # fmt: skip
    pd.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
    out = scan(
        load_images(tmp_path / "t.parquet"), tmp_path / "out", LabelSieve("mini-glyph")
    ).folder
    assert set(pd.read_parquet(out / "issues.parquet")["given_label"]) == set(names)
    assert set(json.loads((out / "classes.json").read_text())) == set(names)


def test_a_label_column_of_numbers(tmp_path, tiny_backbone):
    rows = [
        {"image": {"bytes": png((40 * i % 255, 9, 9)), "path": None}, "label": i % 3}
        for i in range(18)
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
    issues = LabelSieve(tiny_backbone).fit(tmp_path / "t.parquet").issues_
    assert set(issues.table["given_label"]) == {"0", "1", "2"}


def test_finished_and_foreign_folders_are_not_overwritten(images, tmp_path, tiny_backbone):
    out = tmp_path / "out"
    scan(images, out, LabelSieve(tiny_backbone, tuner="zero-shot"))
    with pytest.raises(InputError, match="finished scan; add --force"):
        scan(images, out, LabelSieve(tiny_backbone))
    scan(images, out, LabelSieve(tiny_backbone, tuner="zero-shot"), force=True)
    foreign = tmp_path / "foreign"
    foreign.mkdir()
    (foreign / "thesis.tex").write_text("mine")
    with pytest.raises(InputError, match="not of a scan"):
        scan(images, foreign, LabelSieve(tiny_backbone))
    assert [p.name for p in foreign.iterdir()] == ["thesis.tex"]


def test_wrong_names_cost_no_extraction(images, tiny_backbone):
    with pytest.raises(InputError, match=r"unknown detector 'knnn'.*mean 'knn'"):
        LabelSieve("/nowhere", detector="knnn").fit(images)
    with pytest.raises(InputError, match="has no parameter neighbours; it takes k"):
        LabelSieve("/nowhere", detector="knn", detector_params={"neighbours": 3}).fit(images)


def test_predictions_of_unlabeled_images(images, tmp_path, tiny_backbone):
    out = scan(images, tmp_path / "out", LabelSieve(tiny_backbone, tuner="zero-shot")).folder
    flat = tmp_path / "flat"
    flat.mkdir()
    (flat / "one.png").write_bytes(png())
    (flat / "two.png").write_bytes(b"no image")
    n, unreadable = predict_file(out, str(flat), tmp_path / "p.parquet")
    assert (n, unreadable) == (2, 1)
    table = pd.read_parquet(tmp_path / "p.parquet")
    assert list(table.columns) == ["id", "file_name", "predicted_label", "p_predicted"]
    assert table["predicted_label"][0] in images.class_names
    assert table["predicted_label"].isna().tolist() == [False, True]
    with pytest.raises(InputError, match="add --force"):
        predict_file(out, str(flat), tmp_path / "p.parquet")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "two.png").write_bytes(b"no image")
    with pytest.raises(InputError, match=r"none of the 1 image in .*none can be read"):
        predict_file(out, str(tmp_path / "none"), tmp_path / "none.parquet")
    assert not (tmp_path / "none.parquet").exists()
    (tmp_path / "new" / "2024").mkdir(parents=True)  # one folder, which is no class
    (tmp_path / "new" / "2024" / "one.png").write_bytes(png())
    assert predict_file(out, str(tmp_path / "new"), tmp_path / "q.parquet") == (1, 0)
    (tmp_path / "t.csv").write_text("image,class,category\nflat/one.png,0.5,x\n")
    assert predict_file(out, str(tmp_path / "t.csv"), tmp_path / "r.parquet") == (1, 0)
    same = [pd.read_parquet(tmp_path / f"{name}.parquet").iloc[0, 2:].tolist() for name in "pqr"]
    assert same[0] == same[1] == same[2]


def test_images_of_a_scan_are_found_again(images, tmp_path, tiny_backbone):
    source = {"source": str(tmp_path / "photos")}
    out = scan(
        images, tmp_path / "out", LabelSieve(tiny_backbone, tuner="zero-shot"), source=source
    ).folder
    again, problem = images_of_scan(out)
    assert problem is None
    assert again.ids.tolist() == images.ids.tolist()
    next((tmp_path / "photos" / "red").glob("*.png")).unlink()
    assert images_of_scan(out)[1].endswith("has changed since the scan")
    (out / "issues.parquet").write_bytes((out / "issues.parquet").read_bytes()[:-9])
    for read in (images_of_scan, LabelIssues.load):
        with pytest.raises(InputError, match=r"cannot read .*issues\.parquet as parquet"):
            read(out)


def test_images_are_not_looked_for_in_the_current_folder(
    images, tmp_path, tiny_backbone, monkeypatch
):
    out = scan(images, tmp_path / "out", LabelSieve(tiny_backbone, tuner="zero-shot")).folder
    monkeypatch.chdir(tmp_path / "photos")
    assert images_of_scan(out) == (None, "run.json does not say where the images are")
    with pytest.raises(InputError, match="data is empty; give the path"):
        load_images("")


def test_tune_writes_a_classifier_once(images, tmp_path, tiny_backbone):
    tune(images, tmp_path / "m", params={"epochs": 1}, model=tiny_backbone)
    assert {p.name for p in (tmp_path / "m").iterdir()} == {
        "config.json",
        "model.safetensors",
        "README.md",
    }
    with pytest.raises(InputError, match="add --force"):
        tune(images, tmp_path / "m", model=tiny_backbone)


def test_two_runs_do_not_write_to_one_folder(images, tmp_path, tiny_backbone):
    out, quick = tmp_path / "out", {"detector": "label-match", "tuner": "zero-shot"}

    def meanwhile(folder, found):
        with pytest.raises(InputError, match=r"another scan writes to .*out; wait for it or end"):
            scan(images, out, LabelSieve(tiny_backbone, **quick))
        with pytest.raises(InputError, match=r"another run writes to .*out; wait for it or end"):
            tune(images, out, tuner="zero-shot", model=tiny_backbone)
        with pytest.raises(InputError, match=r"another run writes to .*out; wait for it or end"):
            adapt(images, None, out, backbone=tiny_backbone)
        assert (folder / "run.json").exists()

    scan(images, out, LabelSieve(tiny_backbone, **quick), finish=meanwhile)
    assert {p.name for p in out.iterdir()} == FILES


def test_a_scan_that_fails_before_anything_is_kept_leaves_no_folder(
    images, tmp_path, tiny_backbone, caplog
):
    with pytest.raises(ModelUnavailableError):
        scan(images, tmp_path / "out", LabelSieve("openai/nothing", offline=True))
    assert not (tmp_path / "out").exists()
    scan(images, tmp_path / "out", LabelSieve(tiny_backbone, tuner="zero-shot"))
    assert "continuing" not in caplog.text


def test_a_killed_scan_continues_to_the_same_bytes(tmp_path, tiny_clip_dir):
    """Kill -9 while training, type the same command again, compare with an undisturbed run."""
    write_colour_tree(tmp_path / "photos", per_class=40)
    environment = os.environ | {"LABELSIEVE_CACHE": str(tmp_path / "cache")}

    def command(out):
        return [
            sys.executable, "-m", "labelsieve", "scan", str(tmp_path / "photos"), "-o", str(out),
            "--model", str(tiny_clip_dir), "--detector", "dual-prompts", "--param", "epochs=400",
        ]  # fmt: skip

    state = tmp_path / "killed" / ".work" / "detector" / "training.json"
    process = subprocess.Popen(
        command(tmp_path / "killed"), env=environment, stderr=subprocess.PIPE
    )
    deadline = time.time() + 90
    while not state.exists() and process.poll() is None and time.time() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not (tmp_path / "killed" / "run.json").exists()
    kept = len(json.loads(state.read_text())["history"])
    assert 0 < kept < 400
    for out in ("killed", "whole"):
        subprocess.run(command(tmp_path / out), env=environment, check=True, capture_output=True)
    for name in ("issues.parquet", "issues.csv", "summary.json", "noise_matrix.csv"):
        killed, whole = (tmp_path / out / name for out in ("killed", "whole"))
        assert killed.read_bytes() == whole.read_bytes()
    weights = [tmp_path / out / "model" / "model.safetensors" for out in ("killed", "whole")]
    assert weights[0].read_bytes() == weights[1].read_bytes()
