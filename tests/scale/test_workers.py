"""The number of workers and of machines changes nothing: 1, 2 and 3 workers, and two nodes."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path

import pytest
from digit_shards import block_bytes, digits, run, scan_command, write_shards

pytest.importorskip("ray")
STREAMED = ("--engine", "ray", "--fit-rows", "250", "--budget", "20")


def results(out: Path) -> dict[str, bytes]:
    """What a scan has written that depends on the data alone."""
    names = ("issues.parquet", "issues.csv", "first.csv", "noise_matrix.csv", "classes.json")
    return {name: (out / name).read_bytes() for name in names} | block_bytes(out)


@contextmanager
def two_nodes():
    """A cluster of two machines, started apart from the scan; its address."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    try:
        cluster.add_node(num_cpus=1)
        yield cluster.address
    finally:
        cluster.shutdown()


@pytest.mark.slow
def test_results_do_not_depend_on_workers_or_machines(tmp_path: Path):
    write_shards(tmp_path / "data", digits(600), 75)
    found = {}
    for workers in (1, 2, 3):
        out = tmp_path / f"workers-{workers}"
        run(scan_command(tmp_path / "data", out, *STREAMED, "--workers", str(workers)), timeout=900)
        found[workers] = results(out)
        assert json.loads((out / "run.json").read_text())["scale"]["workers"] == workers
    assert len(block_bytes(out)) == 8
    with two_nodes() as address:
        out = tmp_path / "nodes"
        run(scan_command(tmp_path / "data", out, *STREAMED, "--address", address), timeout=900)
        found["nodes"] = results(out)
        assert json.loads((out / "run.json").read_text())["scale"]["address"] == address
    for name in found[1]:
        assert {key: each[name] == found[1][name] for key, each in found.items()} == dict.fromkeys(
            found, True
        ), name


def test_a_cluster_that_is_not_there_is_told(tmp_path: Path):
    write_shards(tmp_path / "data", digits(60), 30)
    flags = ("--engine", "ray", "--address", "127.0.0.1:1")
    text = run(scan_command(tmp_path / "data", tmp_path / "out", *flags), code=2, timeout=60)
    assert "cannot reach the Ray cluster 127.0.0.1:1" in text
    assert "Traceback" not in text
