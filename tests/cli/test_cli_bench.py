"""`labelsieve bench` from the command line: the smoke suite, killed and resumed."""

import json
import os
import signal
import subprocess
import sys
import time

import pandas as pd
import pytest
from typer.testing import CliRunner

from labelsieve.cli.main import app
from labelsieve.core.exceptions import InputError


def start(*arguments):
    return subprocess.Popen(
        [sys.executable, "-m", "labelsieve", "bench", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(condition, seconds):
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_smoke_killed_resumed_and_reported(tmp_path):
    out = tmp_path / "results"

    def records():
        return {p.parent.name: p.stat().st_mtime_ns for p in out.glob("cells/*/record.json")}

    first = start("smoke", "-o", out, "--jobs", 2)
    wait_for(lambda: len(records()) >= 3 or first.poll() is not None, 300)
    assert first.poll() is None, first.communicate()
    os.kill(first.pid, signal.SIGKILL)
    first.communicate()
    time.sleep(1)  # the workers see that it is gone
    before = records()
    assert 3 <= len(before) < 21
    second = start("smoke", "-o", out, "--jobs", 2, "--json")
    stdout, stderr = second.communicate(timeout=500)
    assert second.returncode == 0, stderr
    assert json.loads(stdout) == {"results": str(out / "results.parquet"), "ok": 21, "failed": 0}
    after = records()
    assert len(after) == 21
    assert {key: after[key] for key in before} == before
    assert not list(out.glob("cells/.*"))
    table = pd.read_parquet(out / "results.parquet")
    assert table.groupby("seed")["noise_hash"].nunique().tolist() == [2, 2, 2]
    noisy = table[table["noise"] == "symmetric 0.3"].groupby("method").mean(numeric_only=True)
    assert noisy.loc["latent-label", "average_precision"] > 0.9
    assert noisy.loc["latent-label", "noise_rate_error"] < 0.05
    assert noisy.loc["coop ce, sieved", "accuracy"] > 0.65
    result = CliRunner().invoke(app, ["bench", "report", str(out)])
    assert result.exit_code == 0, result.output
    assert (out / "report" / "report.tex").is_file()


def test_ctrl_c_keeps_what_is_done(tmp_path):
    out = tmp_path / "results"
    run = start("smoke", "-o", out)
    wait_for(lambda: (out / "suite.json").exists() or run.poll() is not None, 300)
    run.send_signal(signal.SIGINT)
    _, stderr = run.communicate(timeout=120)
    assert run.returncode == 130
    assert "run the same command to continue" in stderr
    assert set(pd.read_parquet(out / "results.parquet")["status"]) <= {"ok", "missing"}


def test_bad_usage_and_failed_cells(tmp_path, tiny_clip_dir):
    result = CliRunner().invoke(app, ["bench", "smok", "-o", str(tmp_path / "r")])
    assert isinstance(result.exception, InputError)
    result = CliRunner().invoke(app, ["bench", "--help"])
    assert "report" in result.output
    suite = tmp_path / "s.yaml"
    suite.write_text(
        f"seeds: [1]\nmodels: {{m: {tiny_clip_dir}}}\ndata: {{d: {{train: {tmp_path}/none}}}}\n"
        "methods: {k: {detector: knn}}\n"
    )
    run = start(suite, "-o", tmp_path / "r")
    stdout, stderr = run.communicate(timeout=120)
    assert run.returncode == 1
    assert "0 cells done, 1 failed" in stdout
    assert "failed: d | none | m | k | 1: InputError: the noisy labels could not be made" in stderr
    result = CliRunner().invoke(app, ["bench", "check", str(suite)])
    assert "unseen   d: " in result.output


@pytest.mark.parametrize("verb", ["run", "report", "check"])
def test_help_of_each_verb(verb):
    result = CliRunner().invoke(app, ["bench", verb, "--help"])
    assert result.exit_code == 0
