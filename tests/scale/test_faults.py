"""`kill -9` of a worker and of the driver: the second start finishes with the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pandas as pd
import pytest
from digit_shards import block_bytes, digits, issues, run, scan_command, write_shards

pytest.importorskip("ray")
RAY = ("--engine", "ray", "--workers", "2")


@pytest.mark.slow
@pytest.mark.parametrize(("n_rows", "per_shard"), [(480, 40), (100_000, 2_000)])
def test_kills_of_a_worker_and_of_the_driver(tmp_path: Path, n_rows: int, per_shard: int):
    data, n_blocks = tmp_path / "shards", n_rows // per_shard
    write_shards(data, digits(n_rows), per_shard)
    local, killed = tmp_path / "local", tmp_path / "killed"
    run(scan_command(data, local), timeout=3600)

    _kill_worker_then_driver(scan_command(data, killed, *RAY), killed, n_blocks)
    assert not (killed / "run.json").exists()
    kept = block_bytes(killed)
    assert 0 < len(kept) < n_blocks
    text = run(scan_command(data, killed, *RAY), timeout=3600)

    assert "blocks are there" in text
    assert {name: block_bytes(killed)[name] for name in kept} == kept
    record = json.loads((killed / "run.json").read_text())["scale"]
    assert record["rows"] == n_rows
    assert [block["rows"] for block in record["blocks"]] == [per_shard] * n_blocks
    # One block lost with the worker, and at most one in each of two workers with the driver.
    assert n_blocks < record["block_starts"] <= n_blocks + 3
    pd.testing.assert_frame_equal(issues(local), issues(killed), rtol=0, atol=1e-5)
    exact = ["id", "given_label", "predicted_label", "is_label_issue", "suggested_label", "action"]
    assert issues(local)[exact].equals(issues(killed)[exact])


def _kill_worker_then_driver(command: list[str], out: Path, n_blocks: int) -> None:
    """Kill the worker of the first block, and the driver once a quarter of the blocks is there."""
    driver = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    log = out / "features" / "starts.log"
    try:
        worker = int(_wait(lambda: log.exists() and log.read_text().split())[1])
        os.kill(worker, signal.SIGKILL)
        _wait(lambda: len(list((out / "features").glob("block-*.json"))) >= n_blocks // 4)
        assert worker not in _pids(log.read_text().splitlines()[-1:])
    finally:
        driver.kill()
        driver.wait()
    _wait(lambda: not any(_alive(pid) for pid in _pids(log.read_text().splitlines())))


def _pids(lines: list[str]) -> set[int]:
    return {int(line.split()[1]) for line in lines}


def _alive(pid: int) -> bool:
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().split()[2]
    except OSError:
        return False


def _wait(condition, seconds: float = 900):
    """The first true value of a condition."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        found = condition()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError("waited in vain")
