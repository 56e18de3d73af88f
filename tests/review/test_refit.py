"""The scan from the page: its command, its process, the change to the new scan."""

from __future__ import annotations

import sqlite3
import time

import numpy as np
import pandas as pd
import pytest

from labelsieve.core.exceptions import InputError
from labelsieve.review.estimate import STRENGTH, corrected, remaining_errors
from labelsieve.review.live import LiveReview
from labelsieve.review.overlay import CODES
from labelsieve.review.refit import Refit, scan_command
from labelsieve.review.session import ReviewSession
from labelsieve.sieve.decision_files import read_decisions

RUN = {
    "config": {
        "model": "mini-glyph", "detector": "knn", "detector_params": {"k": 7, "metric": "a b"},
        "tuner": "zero-shot", "tuner_params": None, "device": "cpu", "dtype": "auto",
        "offline": True, "random_state": 3,
    },
    "data": {"source": "-odd name/", "split": "train", "image_column": None},
    "timings": {"detect": 1.5, "tune": 0.5},
}  # fmt: skip


def test_the_command_repeats_the_scan(tmp_path):
    assert scan_command(tmp_path, RUN) == [
        "scan", f"--out={tmp_path}", f"--decisions={tmp_path}", "--force", "--split=train",
        "--model=mini-glyph", "--detector=knn", "--tuner=zero-shot", "--device=cpu",
        "--dtype=auto", "--seed=3", "--param=k=7", '--param=metric="a b"', "--offline",
        "--", "-odd name/",
    ]  # fmt: skip
    with pytest.raises(InputError, match="does not say how this scan was made"):
        scan_command(tmp_path, {"data": {"source": "x"}})
    with pytest.raises(InputError, match="tuner_params"):
        scan_command(tmp_path, RUN | {"config": RUN["config"] | {"tuner_params": {"lr": 1}}})


def ended(refit):
    for _ in range(600):
        if refit.status()["state"] != "running":
            return refit.status()
        time.sleep(0.05)
    raise AssertionError(refit.status())


def test_one_scan_at_a_time_and_its_failure_is_told(tmp_path, monkeypatch):
    first, second = (Refit(tmp_path, tmp_path / ".review") for _ in range(2))
    assert first.status()["state"] == "idle"
    with pytest.raises(InputError, match="does not say"):
        first.start({})
    monkeypatch.setattr("labelsieve.review.refit.scan_command", lambda *_: ["review", "nowhere"])
    first.start(RUN)
    assert first.status()["usual"] == 2.0
    with pytest.raises(InputError, match="scanning already"):
        second.start(RUN)
    first.start(RUN)  # under way: nothing to begin
    told = ended(first)
    assert told["state"] == "failed"
    assert "nowhere" in told["message"]
    second.start(RUN)
    second.stop()
    assert second.status()["state"] == "failed"


def test_the_page_goes_on_with_the_new_scan(server, client, scan_folder):
    assert client.decide([{"row": 4, "action": "keep", "version": 0}])[0] == 200
    old = client.get("/api/progress")
    issues = pd.read_parquet(scan_folder / "issues.parquet")
    issues.loc[8, ["is_label_issue", "action"]] = [False, "keep"]
    issues.to_parquet(scan_folder / "issues.parquet")
    (scan_folder / "run.json").write_text((scan_folder / "run.json").read_text() + " ")
    new = client.get("/api/changes?since=0")["progress"]
    assert new["version"] != old["version"]
    assert (old["n_flagged"], new["n_flagged"]) == (20, 19)
    entry = client.get("/api/rows/4")
    assert entry["decision"]["action"] == "keep"
    assert client.decide([{"row": 4, "action": "drop", "version": entry["version"]}])[0] == 200
    headers = client.headers
    for changes, status in (({"Origin": "http://evil.example"}, 403), ({}, 400)):
        answer = client.raw("POST", "/api/refit", "{}", headers | changes)
        assert answer[0] == status  # 400: this folder does not say how it was scanned
    assert b"run.json does not say how" in answer[2]


def test_a_scan_of_other_images_is_not_taken_over(scan_folder):
    review = LiveReview(scan_folder)
    issues = pd.read_parquet(scan_folder / "issues.parquet").iloc[::-1]
    issues.to_parquet(scan_folder / "issues.parquet")
    (scan_folder / "run.json").write_text((scan_folder / "run.json").read_text() + " ")
    assert review.fresh().table.ids[0] == "id-0"
    review.close()


def test_decisions_of_the_scan_are_decided_unless_undone(scan_folder):
    rows = "id,action,label,reviewer,time\nid-4,relabel,dog,Ann,2026-01-01\nid-8,keep,,,\n"
    (scan_folder / "decisions.csv").write_text(rows)
    session = ReviewSession(scan_folder)
    assert session.progress()["actions"] == {"keep": 1, "relabel": 1, "drop": 0, "unsure": 0}
    entry = session.row(4)
    assert entry["decision"] == {
        "action": "relabel", "label": "dog", "reviewer": "Ann", "time": "2026-01-01",
    }  # fmt: skip
    session.decide([{"row": 4, "action": "undo", "version": entry["version"]}], "Ada")
    session.close()
    again = ReviewSession(scan_folder)  # what was undone does not come back
    assert again.row(4)["decision"] is None
    again.close()
    assert {row.id: row.action for row in read_decisions(scan_folder).rows} == {"id-8": "keep"}


def test_held_decisions_are_no_evidence_about_others():
    """Two held rows with w of 1 stand beside open ones of the same band."""
    wrong = np.array([1.0, 1.0, 0.96, 0.96, 0.1, np.nan])
    codes = np.array([CODES["relabel"], CODES["drop"], 0, CODES["keep"], 0, 0])
    held = np.array([True, True, False, False, False, False])
    flagged = np.array([True, True, True, True, False, False])
    top = STRENGTH * 0.96 / (STRENGTH + 1)  # one reviewed row of the band was right
    found = remaining_errors(wrong, codes, flagged=flagged, held=held)
    assert found["remaining"] == pytest.approx(top + 0.1)
    assert found["noise_rate"] == pytest.approx((2 + top + 0.1) / 5)
    low, high = found["interval"]
    assert found["noise_interval"] == pytest.approx([(2 + low) / 5, (2 + high) / 5])
    assert found["precision"] == pytest.approx((2 + top) / 4)
    assert remaining_errors(wrong, codes, held=held)["precision"] is None


def test_the_scans_correction_is_used():
    wrong, flagged = np.array([0.5, 0.5, 1.0, np.nan]), np.array([True, False, True, False])
    known = {"reviewed_flagged": {"shift": 1.0}, "reviewed_unflagged": None}
    expected = [1 / (1 + np.exp(-1.0)), 0.5, 1.0, np.nan]
    np.testing.assert_allclose(corrected(wrong, flagged, known), expected)
    np.testing.assert_array_equal(corrected(wrong, flagged, None), wrong)


def test_a_running_review_of_an_old_database_is_read(scan_folder):
    """A file of decisions without a history: nothing was taken back."""
    with sqlite3.connect(scan_folder / "decisions.sqlite") as db:
        db.execute("CREATE TABLE current(id, action, label, reviewer, time, version)")
        db.execute("INSERT INTO current VALUES('id-1', 'drop', NULL, 'Ada', 't', 1)")
    db.close()
    assert len(read_decisions(scan_folder)) == 1
