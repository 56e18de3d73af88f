"""Object storage and a web server on loopback, with 500s and truncated bodies."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pandas as pd
import pytest
from digit_shards import digits, issues, run, scan_command, write_shards, write_tree
from faulty_server import faulty_proxy, file_server, object_storage, upload

RAY = ("--engine", "ray", "--workers", "2")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch):
    """A moto server behind a faulty proxy: its address, the proxy's faults."""
    pytest.importorskip("moto")
    pytest.importorskip("s3fs")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with object_storage(port) as address, faulty_proxy(address) as (proxy, faults):
        for name, value in {
            "AWS_ENDPOINT_URL": proxy,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        yield address, faults


def test_shards_of_a_faulty_web_server_scan_as_local_ones(tmp_path: Path):
    pytest.importorskip("aiohttp")
    data = tmp_path / "shards"
    write_shards(data, digits(240), 80)
    run(scan_command(data, tmp_path / "local"))
    with file_server(data) as address, faulty_proxy(address) as (proxy, faults):
        url = f"{proxy}/digits-{{0000..0002}}.tar"
        run(scan_command(url, tmp_path / "remote"))
    assert faults["500"] > 10
    assert faults["truncated"] > 10
    pd.testing.assert_frame_equal(issues(tmp_path / "local"), issues(tmp_path / "remote"))


@pytest.mark.slow
def test_ray_over_a_faulty_object_storage(tmp_path: Path, s3):
    address, faults = s3
    rows = digits(600)
    write_shards(tmp_path / "data" / "shards", rows, 60)
    run(scan_command(tmp_path / "data" / "shards", tmp_path / "local"))
    upload(address, "digits", tmp_path / "data")
    run(scan_command("s3://digits/shards", tmp_path / "remote", *RAY))
    assert min(faults["500"], faults["truncated"]) > 1
    pd.testing.assert_frame_equal(
        issues(tmp_path / "local"), issues(tmp_path / "remote"), rtol=0, atol=1e-5
    )
    assert json.loads((tmp_path / "remote" / "run.json").read_text())["scale"]["rows"] == 600


@pytest.mark.slow
def test_a_class_tree_in_a_faulty_object_storage(tmp_path: Path, s3):
    address, faults = s3
    write_tree(tmp_path / "tree", digits(200))
    run(scan_command(tmp_path / "tree", tmp_path / "local"))
    upload(address, "tree", tmp_path / "tree")
    run(scan_command("s3://tree", tmp_path / "remote"))
    assert min(faults["500"], faults["truncated"]) > 20
    pd.testing.assert_frame_equal(issues(tmp_path / "local"), issues(tmp_path / "remote"))
