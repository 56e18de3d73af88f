"""Cells on a Ray cluster: the same results as in processes of this machine, workers may die."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from labelsieve.bench.pool import AbstractExecutor, run_tasks
from labelsieve.bench.run import run_suite
from labelsieve.bench.suite_load import load_suite, parse_suite
from labelsieve.bench.tasks import Task
from labelsieve.cli.main import app
from labelsieve.core.cluster import Cluster
from labelsieve.core.exceptions import InputError

SUITE = """
name: small
seeds: [0]
models: {glyph: mini-glyph}
data:
  digits: {train: "demo:digits", images: 100}
noise: {symmetric: {kind: symmetric, rate: 0.2}}
methods:
  match: {detector: label-match}
  latent: {detector: latent-label, params: {n_repeats: 1, n_folds: 2}}
"""
COST = r"^(seconds|cpu|peak|memory)_"


def measured(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of a table of results that are not cost."""
    return table.drop(columns=table.filter(regex=COST).columns)


def issues(results: Path) -> dict[str, bytes]:
    """The issues of all cells, as they are stored."""
    return {p.parent.name: p.read_bytes() for p in sorted(results.glob("cells/*/issues.parquet"))}


def test_a_cluster_gives_the_rows_and_bytes_of_the_local_pool(tmp_path: Path):
    pytest.importorskip("ray")
    local = run_suite(parse_suite(SUITE), tmp_path / "local")
    ray = run_suite(parse_suite(SUITE), tmp_path / "ray", cluster=Cluster(workers=2))
    assert local["status"].tolist() == ["ok"] * 2
    pd.testing.assert_frame_equal(measured(local), measured(ray))
    assert len(measured(local).columns) > 30
    assert issues(tmp_path / "local") == issues(tmp_path / "ray")
    stored = pd.read_parquet(tmp_path / "ray" / "results.parquet")
    pd.testing.assert_frame_equal(measured(stored), measured(local))
    again = run_suite(parse_suite(SUITE), tmp_path / "ray")  # nothing is left to run
    pd.testing.assert_frame_equal(again, ray)


class Scripted(AbstractExecutor):
    """One task at a time, without any process; the codes are given."""

    def __init__(self, codes: dict[str, int]):
        self.codes, self.running, self.started, self.stopped = codes, [], [], False

    def has_room(self) -> bool:
        return not self.running

    def start(self, task: Task) -> str:
        self.running.append(task.key)
        self.started.append(task.key)
        return task.key

    def wait(self) -> list[tuple[str, int]]:
        ended, self.running = self.running, []
        return [(key, self.codes.get(key, 0)) for key in ended]

    def stop(self) -> None:
        self.stopped = True


def test_tasks_wait_for_those_they_name_and_a_closed_run_stops_the_executor():
    tasks = [Task("cell", "c", None, ("a", "b")), Task("noise", "a", None)]  # type: ignore
    executor = Scripted({"a": 3})
    assert [(task.key, code) for task, code in run_tasks(tasks, executor)] == [("a", 3), ("c", 0)]
    assert executor.stopped
    executor = Scripted({})
    ended = run_tasks(tasks, executor)
    next(ended)
    ended.close()
    assert executor.started == ["a"]
    assert executor.stopped


def test_flags_that_do_not_go_together(tmp_path: Path):
    for flags, text in (
        (["--workers", "2"], "go with --engine ray"),
        (["--engine", "ray", "--jobs", "2"], "--workers says how many cells"),
        (["--engine", "dask"], "choose local or ray"),
    ):
        result = CliRunner().invoke(app, ["bench", "smoke", "-o", str(tmp_path / "r"), *flags])
        assert isinstance(result.exception, InputError)
        assert text in str(result.exception)


@contextmanager
def smoke_on_ray(out: Path):
    """The shipped suite on two workers, from the command line."""
    command = [sys.executable, "-m", "labelsieve", "bench", "smoke", "-o", str(out)]
    run = subprocess.Popen(
        [*command, "--engine", "ray", "--workers", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield run
    finally:
        run.kill()
        run.communicate()


def partial_folders(out: Path) -> list[Path]:
    return list(out.glob("cells/.*.partial"))


def wait_for(condition, seconds: float = 600):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return found


@pytest.mark.slow
def test_the_cell_of_a_killed_worker_is_tried_again(tmp_path: Path):
    pytest.importorskip("ray")
    with smoke_on_ray(tmp_path / "ray") as run:
        worker = wait_for(lambda: partial_folders(tmp_path / "ray"))[0]
        key, pid = worker.name.split(".")[1:3]
        os.kill(int(pid), signal.SIGKILL)
        _, stderr = run.communicate(timeout=900)
        assert run.returncode == 0, stderr
    table = pd.read_parquet(tmp_path / "ray" / "results.parquet")
    assert table["status"].tolist() == ["ok"] * 21
    assert key in table["cell"].tolist()
    assert not partial_folders(tmp_path / "ray")
    run_suite(load_suite("smoke"), tmp_path / "local", jobs=2)
    local = pd.read_parquet(tmp_path / "local" / "results.parquet")
    pd.testing.assert_frame_equal(measured(local), measured(table), rtol=1e-6)


@pytest.mark.slow
def test_an_interrupt_on_a_cluster_keeps_what_is_done(tmp_path: Path):
    pytest.importorskip("ray")
    out = tmp_path / "ray"
    with smoke_on_ray(out) as run:
        wait_for(lambda: len(list(out.glob("cells/*/record.json"))) >= 2)
        run.send_signal(signal.SIGINT)
        _, stderr = run.communicate(timeout=120)
        assert run.returncode == 130, stderr
    assert "run the same command to continue" in stderr
    assert "Traceback" not in stderr
    table = pd.read_parquet(out / "results.parquet")
    assert set(table["status"]) == {"ok", "missing"}
    assert not partial_folders(out)
