"""`labelsieve adapt` from the command line, alone and in the processes of torchrun."""

import json
import os
import subprocess
import sys

import pandas as pd
import pytest
from typer.testing import CliRunner

from image_models import build_image_model
from labelsieve.cli.main import app
from labelsieve.core.exceptions import InputError
from problems import write_colour_tree


@pytest.fixture(scope="module")
def place(tmp_path_factory, tiny_clip_dir):
    """Images with a scan of them, test images, and a ResNet."""
    place = tmp_path_factory.mktemp("adapt")
    write_colour_tree(place / "photos")
    write_colour_tree(place / "test", seed=1, per_class=9)
    build_image_model(place / "resnet", "resnet")
    run("scan", place / "photos", "-o", place / "out", "--model", tiny_clip_dir)
    return place


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_the_model_of_the_scan_is_adapted(place, tmp_path, tiny_clip_dir):
    given = ("--issues", place / "out" / "issues.parquet", "--epochs", 2, "--test", place / "test")
    result = run("adapt", place / "photos", "-o", tmp_path / "m", *given, "--precision", "float32")
    kept = (~pd.read_parquet(place / "out" / "issues.parquet")["is_label_issue"]).sum()
    assert f"trained {tiny_clip_dir.resolve()} on {kept} of 42 images" in result.stdout
    assert "test accuracy" in result.stdout
    config = json.loads((tmp_path / "m" / "config.json").read_text())
    assert config["params"]["precision"] == "float32"
    assert len(config["history"]) == 2
    run("predict", tmp_path / "m", place / "test", "-o", tmp_path / "p.parquet")
    assert len(pd.read_parquet(tmp_path / "p.parquet")) == 27
    run("evaluate", tmp_path / "m", place / "test", "--json")


def test_another_backbone_and_relabeling(place, tmp_path):
    given = ("--issues", place / "out", "--backbone", place / "resnet", "--relabel", "--json")
    result = run("adapt", place / "photos", "-o", tmp_path / "m", *given, "--param", "epochs=1")
    found = json.loads(result.stdout)
    table = pd.read_parquet(place / "out" / "issues.parquet")
    relabeled = (table["action"] == "relabel").sum()
    assert found["n_relabeled"] == relabeled
    assert found["n_kept"] == (table["action"] == "keep").sum() + relabeled
    run("evaluate", tmp_path / "m", place / "test", "--json")


def test_a_baseline_on_all_given_labels(place, tmp_path):
    given = ("--backbone", place / "resnet", "--baseline", "small-loss")
    given += ("--epochs", 1, "--param", "noise_rate=.1")
    result = run(
        "adapt", place / "photos", "-o", tmp_path / "m", *given, "--param", "noise_rate=.1"
    )
    assert "on 42 of 42 images" in result.stdout


def test_bad_usage_says_what_to_do(place, tmp_path, tiny_clip_dir):
    def fails(match, *arguments):
        result = CliRunner().invoke(
            app, [str(a) for a in ("adapt", place / "photos", "-o", tmp_path / "m", *arguments)]
        )
        assert isinstance(result.exception, InputError)
        assert match in str(result.exception)

    fails("needs --issues FILE")
    for path in (tmp_path / "none.parquet", tmp_path / "none", place / "photos"):
        fails("does not exist; run `labelsieve scan DATA -o OUT` first", "--issues", path)
    fails("takes issues.parquet or the folder", "--issues", place / "out" / "issues.csv")
    fails("baseline='x' is not known", "--baseline", "x", "--backbone", place / "resnet")
    given = ("--baseline", "ce", "--backbone", place / "resnet")
    fails("no splits", *given, "--test", place / "photos")
    write_colour_tree(tmp_path / "test")
    (tmp_path / "test" / "red").rename(tmp_path / "test" / "rouge")
    unknown = "does not know 1 classes of the data: ['rouge']"
    fails(unknown, *given, "--test", tmp_path / "test")
    result = CliRunner().invoke(
        app,
        [str(a) for a in ("tune", place / "photos", "-o", tmp_path / "m", "--model", tiny_clip_dir)]
        + ["--test", str(tmp_path / "test")],
    )
    assert unknown in str(result.exception)
    assert not (tmp_path / "m").exists()
    fails("no parameter rate", "--baseline", "ce", "--param", "rate=1")


def test_another_process_is_silent_about_a_model_that_is_not_there(place, tmp_path):
    command = ["adapt", place / "photos", "-o", tmp_path / "m", "--baseline", "ce", "--offline"]
    done = subprocess.run(
        [sys.executable, "-m", "labelsieve", *map(str, command), "--backbone", "openai/nothing"],
        capture_output=True,
        text=True,
        env=os.environ | {"RANK": "1"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (2, "", "")


def test_two_processes_speak_once(place, tmp_path):
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2",
        "-m", "labelsieve", "adapt", place / "photos", "--issues", place / "out",
        "-o", tmp_path / "m", "--backbone", place / "resnet", "--epochs", "2", "--device", "cpu",
    ]  # fmt: skip
    done = subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained") == 1
    assert done.stderr.count("42 images, 3 classes") == 1
    run("evaluate", tmp_path / "m", place / "test", "--json")
