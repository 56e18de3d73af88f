"""Model adaptation: which rows are trained on, the folder, its resume, and its refusals."""

import json
import re
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from image_models import build_image_model
from labelsieve.core.exceptions import InputError
from labelsieve.data import load_images
from labelsieve.detectors.issues import LabelIssues, build_issues
from labelsieve.sieve.adapt import adapt, model_of_scan
from labelsieve.sieve.believed import believed_images
from labelsieve.sieve.tune import tune
from labelsieve.tuners import load_tuner
from labelsieve.tuners.fine_tune import FineTune
from problems import write_colour_tree

PARAMS = {"epochs": 2, "batch_size": 8, "lr": 0.01}


@pytest.fixture
def images(tmp_path):
    return load_images(write_colour_tree(tmp_path / "photos", per_class=8))


def issues_of(images, wrong, sure=True):
    """Issues in which the rows `wrong` are found, and relabeled as the class after theirs."""
    n, k = len(images), len(images.class_names)
    given = images.given_labels
    flagged = np.isin(np.arange(n), wrong)
    p = np.full((n, k), 0.1)
    p[np.arange(n), np.where(flagged, (given + 1) % k, given)] = 0.8 if sure else 0.4
    return build_issues(
        ids=images.ids, file_names=images.file_names, given_labels=given,
        class_names=images.class_names, label_score=np.where(flagged, 0.1, 0.9),
        is_label_issue=flagged, probabilities=p, p_clean=np.where(flagged, 0.1, 0.9),
        detector="test", errors={},
    )  # fmt: skip


def wrong_rows(images):
    names = [name.split("/") for name in images.ids]
    return [i for i, (given, file) in enumerate(names) if not file.startswith(given)]


def files(folder):
    """The bytes of all files, without the seconds that an epoch took."""
    found = {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
    return {name: re.sub(rb'"seconds": [0-9.e-]+', b"", content) for name, content in found.items()}


def test_doubted_labels_have_no_influence(images, tiny_backbone, tmp_path):
    wrong = wrong_rows(images)
    labels = images.given_labels.copy()
    labels[wrong] = (labels[wrong] + 1) % 3
    for name, data in {"a": images, "b": images.with_labels(labels)}.items():
        adapt(data, issues_of(data, wrong), tmp_path / name, backbone=tiny_backbone, params=PARAMS)
    assert files(tmp_path / "a") == files(tmp_path / "b")
    assert json.loads((tmp_path / "a" / "adaptation.json").read_text()) == {
        "n_images": 24, "n_kept": 18, "n_relabeled": 0, "by_issues": True,
    }  # fmt: skip


def test_images_that_cannot_be_read_are_not_counted_as_trained_on(images, tmp_path, tiny_backbone):
    for path in sorted((tmp_path / "photos" / "red").glob("*.png"))[:2]:
        path.write_bytes(b"broken")
    done = adapt(images, None, tmp_path / "m", backbone=tiny_backbone, params=PARAMS)
    assert (done.n_images, done.n_kept) == (24, 22)
    assert json.loads((tmp_path / "m" / "adaptation.json").read_text())["n_kept"] == 22


def test_equals_a_fit_to_the_kept_rows(images, tiny_backbone, tmp_path):
    wrong = wrong_rows(images)
    done = adapt(
        images, issues_of(images, wrong), tmp_path / "m", backbone=tiny_backbone, params=PARAMS
    )
    kept = images.subset(np.setdiff1d(np.arange(24), wrong))
    expected = FineTune(tiny_backbone, **PARAMS).fit(kept)
    loaded = load_tuner(tmp_path / "m", backbone=tiny_backbone)
    np.testing.assert_array_equal(loaded.predict_proba(images), expected.predict_proba(images))
    assert (done.n_images, done.n_kept) == (24, 18)
    assert {p.name for p in (tmp_path / "m").iterdir()} == {
        "config.json", "model.safetensors", "README.md", "adaptation.json",
    }  # fmt: skip


def test_actions_decide(images):
    wrong = wrong_rows(images)
    issues = issues_of(images, wrong)
    assert len(believed_images(images, issues).images) == 18
    relabeled = believed_images(images, issues, relabel=True)
    assert relabeled.n_relabeled == 6
    assert len(relabeled.images) == 24
    taken = dict(zip(relabeled.images.ids, relabeled.images.given_labels, strict=True))
    assert all(taken[images.ids[i]] == (images.given_labels[i] + 1) % 3 for i in wrong)
    unsure = believed_images(images, issues_of(images, wrong, sure=False), relabel=True)
    assert unsure.n_relabeled == 0
    assert len(unsure.images) == 18
    table = issues.table.copy()
    table.loc[[i for i in range(24) if i not in wrong][:4], "action"] = [
        "review", "drop", "unreadable", "keep",
    ]  # fmt: skip
    assert len(believed_images(images, LabelIssues(table)).images) == 15
    everything = believed_images(images, None)
    assert len(everything.images) == 24


def test_the_order_of_the_table_does_not_matter(images):
    issues = issues_of(images, wrong_rows(images))
    shuffled = LabelIssues(issues.table.sample(frac=1, random_state=0))
    a, b = (believed_images(images, found).images for found in (issues, shuffled))
    assert a.ids.tolist() == b.ids.tolist()


def test_classes_without_images_stay_in_the_classifier(images, tiny_backbone, tmp_path, caplog):
    green = np.flatnonzero(images.given_labels == 1)
    done = adapt(
        images, issues_of(images, green[1:]), tmp_path / "m", backbone=tiny_backbone, params=PARAMS
    )
    assert "hardly any images are left of green (1 of 8)" in caplog.text
    assert done.tuner.predict_proba(images).shape == (24, 3)
    rest = np.flatnonzero(images.given_labels != 0)
    with pytest.raises(InputError, match="at least two classes, but the labels name blue"):
        adapt(images, issues_of(images, rest), tmp_path / "n", backbone=tiny_backbone)
    with pytest.raises(InputError, match="no label of the 24 images is believed"):
        adapt(images, issues_of(images, np.arange(24)), tmp_path / "n", backbone=tiny_backbone)


def test_issues_of_other_data_are_refused(images):
    issues = issues_of(images, [])
    with pytest.raises(InputError, match=r"lack 2 of the 24 images.*scan them again"):
        believed_images(images, LabelIssues(issues.table.iloc[2:]))
    other = issues.table.assign(id=[f"x{i}" for i in range(24)])
    with pytest.raises(InputError, match=r"lack 24 of the 24 images, such as .*such as 'x0'"):
        believed_images(images, LabelIssues(other))
    with pytest.raises(InputError, match="name an id more than once"):
        believed_images(images, LabelIssues(issues.table.assign(id="x")))
    labels = images.given_labels.copy()
    labels[3] = 2
    with pytest.raises(InputError, match=r"1 images have another label than when .*\(blue\)"):
        believed_images(images.with_labels(labels), issues)


def test_issues_that_believe_no_label_are_told(images):
    table = issues_of(images, []).table.assign(is_label_issue=True, action="review")
    with pytest.raises(InputError, match=r"no label of the 24 .*--baseline ce without --issues"):
        believed_images(images, LabelIssues(table))


def test_fewer_images_than_issues_is_fine(images, caplog):
    issues = issues_of(images, [])
    assert len(believed_images(images.subset(np.arange(10)), issues).images) == 10
    assert "14 issues are of images that are not there" in caplog.text


def test_other_arguments_are_checked_first(images, tiny_backbone, tmp_path):
    def fails(match, out=tmp_path / "m", **arguments):
        with pytest.raises(InputError, match=match):
            adapt(images, None, out, backbone=tiny_backbone, **arguments)

    fails("baseline='cee' is not known", baseline="cee")
    fails("'fft' has no parameter rate; it takes accumulate", params={"rate": 1})
    fails("needs noise_rate", baseline="small-loss")
    (tmp_path / "file").write_text("")
    fails("is a file", out=tmp_path / "file")
    fails("holds files that are not of a classifier", out=tmp_path)
    adapt(images, None, tmp_path / "m", backbone=tiny_backbone, params=PARAMS)
    fails("add --force to replace it")
    adapt(images, None, tmp_path / "m", backbone=tiny_backbone, params=PARAMS, force=True)


def test_the_kind_of_model_can_change(images, tiny_backbone, tmp_path):
    resnet = build_image_model(tmp_path / "resnet", "resnet")
    beside = {"config.json", "README.md", "adaptation.json"}
    for backbone in (tiny_backbone, str(resnet), tiny_backbone):
        adapt(images, None, tmp_path / "m", backbone=backbone, params=PARAMS, force=True)
        weights = "network" if backbone == str(resnet) else "model.safetensors"
        assert {path.name for path in (tmp_path / "m").iterdir()} == beside | {weights}
        given = tiny_backbone if backbone is tiny_backbone else None
        p = load_tuner(tmp_path / "m", backbone=given).predict_proba(images)
        expected = FineTune(backbone, **PARAMS).fit(images).predict_proba(images)
        np.testing.assert_array_equal(p, expected)


def test_force_does_not_replace_a_model_that_is_no_classifier(images, tiny_clip_dir, tmp_path):
    model = shutil.copytree(tiny_clip_dir, tmp_path / "clip")
    before = files(model)
    given = {"images": images, "out": model, "force": True}
    with pytest.raises(InputError, match="holds files that are not of a classifier"):
        tune(**given, tuner="zero-shot", model=str(tiny_clip_dir))
    with pytest.raises(InputError, match="holds files that are not of a classifier"):
        adapt(**given, issues=None, backbone=str(tiny_clip_dir), params=PARAMS)
    assert files(model) == before


def test_a_classifier_is_replaced_whole_or_not_at_all(images, tiny_backbone, tmp_path, monkeypatch):
    given = {"images": images, "out": tmp_path / "m", "tuner": "vpt", "model": tiny_backbone}
    tune(**given, params={"epochs": 1})
    before = files(tmp_path / "m")

    def full(*_):
        raise OSError("no space left")

    with monkeypatch.context() as patched:
        patched.setattr("labelsieve.tuners.base.write_json", full)
        with pytest.raises(OSError, match="no space"):
            tune(**given, params={"epochs": 2}, force=True)
    after = {k: v for k, v in files(tmp_path / "m").items() if not k.parts[0].startswith(".")}
    assert after == before
    tune(**given, params={"epochs": 2}, force=True)
    assert len(load_tuner(tmp_path / "m", backbone=tiny_backbone).history_) == 2
    assert not (tmp_path / "m" / ".work").exists()


@pytest.mark.parametrize("name", ["fft", "vpt", "vlpt"])
def test_the_paradigms_run_by_name(name, images, tiny_clip_dir, tmp_path):
    tune(images, tmp_path / "m", tuner=name, params={"epochs": 1}, model=str(tiny_clip_dir))
    loaded = load_tuner(tmp_path / "m")
    assert loaded.predict_proba(images).shape == (24, 3)


def test_tune_takes_image_models(images, tmp_path):
    resnet = build_image_model(tmp_path / "resnet", "resnet")
    tune(images, tmp_path / "m", tuner="fft", params={"epochs": 1}, model=str(resnet))
    assert load_tuner(tmp_path / "m").backbone_.model_type == "resnet"
    with pytest.raises(InputError, match=r"resnet.*not supported"):
        tune(images, tmp_path / "n", tuner="coop", model=str(resnet))


def test_the_model_of_a_scan_is_found(tmp_path):
    assert model_of_scan(tmp_path / "issues.parquet") is None
    (tmp_path / "run.json").write_text('{"model": {"id": "a/b", "commit": "c"}}')
    assert model_of_scan(tmp_path / "issues.parquet") == ("a/b", "c")
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text(
        '{"model": {"id": "b", "origin": "/models/b", "commit": null}}'
    )
    assert model_of_scan(tmp_path) == ("/models/b", None)


def test_a_killed_adaptation_continues_to_the_same_bytes(images, tmp_path, tiny_clip_dir):
    """Kill -9 while training, type the same command again, compare with an undisturbed call."""
    issues = issues_of(images, wrong_rows(images))
    issues.save(tmp_path / "out")
    command = [
        sys.executable, "-m", "labelsieve", "adapt", str(tmp_path / "photos"),
        "-o", str(tmp_path / "killed"), "--issues", str(tmp_path / "out"),
        "--backbone", str(tiny_clip_dir), "--epochs", "100",
        "--param", "optimizer=adamw", "--param", "lr=1e-3",
    ]  # fmt: skip
    state = tmp_path / "killed" / ".work" / "state" / "training.json"
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    deadline = time.time() + 90
    while not state.exists() and process.poll() is None and time.time() < deadline:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert 0 < len(json.loads(state.read_text())["history"]) < 100
    subprocess.run(command, check=True, capture_output=True)
    params = {"epochs": 100, "optimizer": "adamw", "lr": 1e-3}
    adapt(images, issues, tmp_path / "whole", backbone=str(tiny_clip_dir), params=params)
    assert files(tmp_path / "killed") == files(tmp_path / "whole")
