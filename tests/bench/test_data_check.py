"""Whether data sets of suites are there: offline by a local tree, on the hub where it answers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from labelsieve.bench.data_check import check_data, compare_shape, hub_answers
from labelsieve.bench.suite import DataSpec
from labelsieve.bench.suite_load import load_suite, parse_suite
from problems import write_colour_tree

HUB_SUITES = ("ptnl", "dspt", "deft", "human")


def hub_was_switched_off():
    """Whether HF_HUB_OFFLINE was set before conftest set it, where the system tells."""
    try:
        first = Path("/proc/self/environ").read_bytes().split(b"\0")
    except OSError:
        return False
    return any(entry.startswith(b"HF_HUB_OFFLINE=") and entry[-1:] != b"0" for entry in first)


def test_shapes_are_compared():
    data = DataSpec("d", "o/n", expect={"classes": 3, "train": 10})
    assert compare_shape(data, {"classes": 3, "train": 10, "test": None}).state == "ok"
    assert compare_shape(data, {"classes": None, "train": None}).state == "ok"
    got = compare_shape(data, {"classes": 4, "train": 10})
    assert (got.state, got.text) == ("wrong", "o/n: classes is 4, not 3")


def test_local_data_are_counted_and_the_rest_is_unseen(tmp_path, monkeypatch):
    monkeypatch.delenv("LABELSIEVE_DATA_ROOT", raising=False)
    tree = write_colour_tree(tmp_path / "t")
    suite = parse_suite(
        f"""
models: {{m: mini-glyph}}
data:
  here: {{train: {tree}, expect: {{classes: 3, train: 42}}}}
  fewer: {{train: {tree}, expect: {{classes: 4}}}}
  rooted: {{train: "${{root}}/x"}}
  hub: {{train: no-owner/no-data}}
methods: {{k: {{detector: knn}}}}
"""
    )
    found = {f.data: f for f in check_data(suite)}
    assert {name: f.state for name, f in found.items()} == {
        "here": "ok", "fewer": "wrong", "rooted": "unseen", "hub": "unseen",
    }  # fmt: skip
    assert "--data-root" in found["rooted"].text
    assert "the Hugging Face Hub does not answer" in found["hub"].text


def test_smoke_data_have_the_stated_shape():
    assert [f.state for f in check_data(load_suite("smoke"))] == ["ok"]


@pytest.mark.shared
def test_local_data_have_the_stated_shape(shared_dir):
    assert {f.state for f in check_data(load_suite("local"), str(shared_dir))} == {"ok"}


@pytest.mark.slow
@pytest.mark.parametrize("name", HUB_SUITES)
def test_hub_data_exist_with_the_stated_shape(name):
    """In a process of its own, since the tests switch the hub off before it is imported."""
    environment = {k: v for k, v in os.environ.items() if k != "HF_HUB_OFFLINE"}
    probe = "import sys, labelsieve.bench.data_check as c; sys.exit(not c.hub_answers())"
    asked = [sys.executable, "-c", probe]
    if hub_was_switched_off() or subprocess.run(asked, env=environment).returncode:
        pytest.skip("the Hugging Face Hub does not answer")
    done = subprocess.run(
        [sys.executable, "-m", "labelsieve", "bench", "check", name],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout


def test_the_hub_is_not_asked_when_switched_off():
    assert hub_answers() is False
