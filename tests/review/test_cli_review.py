"""The verb: what it refuses, exports and prints."""

from __future__ import annotations

import sys
import threading

import pytest
from typer.testing import CliRunner

from labelsieve.cli.main import app
from labelsieve.core.exceptions import InputError, MissingExtraError
from labelsieve.review import ReviewServer
from labelsieve.review.session import ReviewSession


def run(*arguments):
    return CliRunner().invoke(app, ["review", *map(str, arguments)])


def test_export(scan_folder, tmp_path):
    target = tmp_path / "decisions.csv"
    assert isinstance(run(scan_folder, "--export", target).exception, InputError)
    session = ReviewSession(scan_folder)
    session.decide([{"row": 4, "action": "drop", "version": 0}], "Ada")
    session.close()
    result = run(scan_folder, "--export", target)
    assert (result.stdout.strip(), result.exit_code) == (str(target), 0)
    assert result.stderr == "1 decision\n"
    assert target.read_text().splitlines()[1].startswith("id-4,drop,,Ada,2")
    (scan_folder / "decisions.csv").write_text("id,action,label\nid-4,keep,\nid-5,keep,\n")
    assert "2 decisions" in run(scan_folder, "--export", target).stderr
    lines = sorted(line[:9] for line in target.read_text().splitlines()[1:])
    assert lines == ["id-4,drop", "id-5,keep"]  # that of the page goes before that of the scan


def test_refusals(scan_folder, tmp_path):
    refused = run(scan_folder, "--host", "0.0.0.0", "--no-browser")
    assert "--allow-network" in str(refused.exception)
    missing = run(tmp_path / "nothing", "--no-browser")
    assert isinstance(missing.exception, InputError)
    assert "labelsieve scan" in str(missing.exception)
    taken = ReviewServer(scan_folder)
    busy = run(scan_folder, "--port", taken.port, "--no-browser")
    assert f"cannot listen on 127.0.0.1 port {taken.port}" in str(busy.exception)
    taken.close()


def test_it_prints_the_address_and_opens_the_browser(scan_folder, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    running = ReviewServer.run

    def briefly(server):
        threading.Timer(0.3, server.stop).start()
        running(server)

    monkeypatch.setattr(ReviewServer, "run", briefly)
    result = run(scan_folder, "--reviewer", "Ada")
    assert result.exit_code == 0
    assert result.stdout.startswith("http://127.0.0.1:")
    assert opened == [result.stdout.strip()]
    assert "decisions.sqlite" in result.stderr


def test_the_extra_is_named(scan_folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtraError, match=r"labelsieve\[review\]"):
        ReviewServer(scan_folder)
