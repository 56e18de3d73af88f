"""Errors, registries, files and checks at the public edge."""

import json

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from scipy.sparse import csr_matrix

from labelsieve.core.device import resolve_device, resolve_dtype
from labelsieve.core.exceptions import InputError, gather
from labelsieve.core.random import numpy_generator, torch_generator
from labelsieve.core.registry import Registry
from labelsieve.core.serialization import (
    atomic_folder,
    atomic_path,
    load_tensors,
    read_json,
    save_tensors,
    write_json,
)
from labelsieve.core.validation import (
    check_class_names,
    check_features,
    check_labels,
    check_number,
)


def test_problems_are_gathered():
    gather([], what="x")
    with pytest.raises(InputError, match=r"^x: one$"):
        gather(["one"], what="x")
    with pytest.raises(InputError, match="x: 2 problems\n- one\n- two"):
        gather(["one", "two"], what="x")


def test_registry_names_the_closest():
    registry = Registry("path", {"join": "os.path:join", "split": "os.path:split"})
    assert registry.get("join")("a", "b") == "a/b"
    with pytest.raises(InputError, match=r"unknown path 'joint'.*join, split.*mean 'join'"):
        registry.get("joint")


def test_an_atomic_write_that_fails_leaves_the_old_file(tmp_path):
    target = tmp_path / "a.json"
    write_json(target, {"ok": 1})
    with pytest.raises(RuntimeError), atomic_path(target) as partial:  # noqa: PT012
        partial.write_text("half")
        raise RuntimeError
    assert json.loads(target.read_text()) == {"ok": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["a.json"]


def test_an_atomic_folder_is_new_or_replaces_the_whole_old_one(tmp_path):
    target = tmp_path / "a" / "b"
    with atomic_folder(target) as partial:
        (partial / "one").write_text("1")
    with pytest.raises(OSError, match="not empty"), atomic_folder(target) as partial:
        (partial / "two").write_text("2")
    with pytest.raises(RuntimeError), atomic_folder(target, replace=True):
        raise RuntimeError
    assert [p.name for p in target.iterdir()] == ["one"]
    with atomic_folder(target, replace=True) as partial:
        (partial / "two").write_text("2")
    assert [p.name for p in target.iterdir()] == ["two"]
    assert [p.name for p in target.parent.iterdir()] == ["b"]


def full_disk(tensors, path):
    raise SafetensorError("Error while serializing: I/O error: No space left on device")


def test_files_round_trip_and_damage_is_said(tmp_path, monkeypatch):
    tensors = {"a": torch.arange(6.0).reshape(2, 3).T}
    save_tensors(tmp_path / "t.safetensors", tensors)
    assert torch.equal(load_tensors(tmp_path / "t.safetensors")["a"], tensors["a"])
    (tmp_path / "t.safetensors").write_bytes(b"\x01")
    with pytest.raises(InputError, match="as safetensors"):
        load_tensors(tmp_path / "t.safetensors")
    monkeypatch.setattr("safetensors.torch.save_file", full_disk)
    with pytest.raises(OSError, match=r"cannot write .*t\.safetensors.*No space left"):
        save_tensors(tmp_path / "t.safetensors", tensors)
    (tmp_path / "b.json").write_text("{")
    with pytest.raises(InputError, match="as JSON"):
        read_json(tmp_path / "b.json")
    with pytest.raises(ValueError, match=r"not JSON compliant|Out of range"):
        write_json(tmp_path / "c.json", float("nan"))


def test_tensors_in_shared_memory_are_saved_under_all_their_names(tmp_path):
    row = torch.arange(4.0)
    save_tensors(tmp_path / "t.safetensors", {"a": row, "b": row, "end": row[2:]})
    found = load_tensors(tmp_path / "t.safetensors")
    assert {name: tensor.tolist() for name, tensor in found.items()} == {
        "a": [0, 1, 2, 3],
        "b": [0, 1, 2, 3],
        "end": [2, 3],
    }


def test_seeds():
    assert numpy_generator(0).random() == np.random.default_rng(0).random()
    a, b = (torch.rand(3, generator=torch_generator(0)) for _ in range(2))
    assert torch.equal(a, b)
    for bad in (-1, 1.5, True, None):
        with pytest.raises(InputError, match="random_state must be"):
            numpy_generator(bad)


def test_devices():
    assert resolve_device("cpu").type == "cpu"
    for bad in ("tpu", "cpu:x", "cpu:", 0):
        with pytest.raises(InputError, match=f"unknown device {bad!r}"):
            resolve_device(bad)
    assert resolve_dtype("auto", torch.device("cpu")) == torch.float32
    with pytest.raises(InputError, match="unknown dtype 'int8'"):
        resolve_dtype("int8", torch.device("cpu"))


def test_features_and_labels_are_checked_once_with_all_problems():
    bad = np.ones((4, 2))
    bad[2, 1] = np.nan
    with pytest.raises(InputError, match="1 of 4 rows, first in row 2"):
        check_features(bad)
    with pytest.raises(InputError, match=r"shape \(N, D\).*not \(3,\)"):
        check_features(np.ones(3))
    for wrong in ("photos", ["photos/a.png"], csr_matrix(np.eye(2))):
        with pytest.raises(InputError, match=r"must be numbers.*pass those that load_images"):
            check_features(wrong)
    with pytest.raises(InputError, match=r"2 problems\n- expected shape \(4,\).*\n- .*0\.\.1.*5"):
        check_labels(np.array([0, 5]), 4, 2)
    with pytest.raises(InputError, match="integer class indices"):
        check_labels(np.array([0.5]), 1, 2)
    assert check_labels([0, 1], 2, 2).dtype == np.int64


def test_features_may_be_tensors_as_they_come():
    for given in (torch.eye(2, dtype=torch.bfloat16), torch.eye(2, requires_grad=True)):
        found = check_features(given)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found, np.eye(2))


def test_class_names_and_numbers():
    assert check_class_names(["a", "b"]) == ("a", "b")
    with pytest.raises(InputError, match="more than once: \\['a'\\]"):
        check_class_names(["a", "a", "b"])
    with pytest.raises(InputError, match="at least two classes"):
        check_class_names(["a"])
    for value in ("cat", 3):  # not the classes c, a and t
        with pytest.raises(InputError, match="must be a list of names, not"):
            check_class_names(value)
    for bad in (0, 2.5, True, float("nan")):
        with pytest.raises(InputError, match=r"n must be an integer in 1\.\.inf"):
            check_number(bad, name="n", low=1, integer=True)


def test_json_of_a_path_is_its_name(tmp_path):
    write_json(tmp_path / "a.json", {"source": tmp_path})
    assert read_json(tmp_path / "a.json") == {"source": str(tmp_path)}
