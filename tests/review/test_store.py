"""Decisions: durable before they are confirmed, never overwritten unseen."""

from __future__ import annotations

import csv
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections import Counter

import pytest

from labelsieve.core.exceptions import InputError
from labelsieve.review import DecisionStore, export_decisions
from labelsieve.review.store import FILE, UNDO, Proposal


@pytest.fixture
def store(tmp_path):
    opened = DecisionStore(tmp_path / FILE)
    yield opened
    opened.close()


def one(store, action, label=None, *, version, identifier="a", reviewer="Ada"):
    return store.decide([Proposal(identifier, action, label, version)], reviewer=reviewer)


def test_schema_and_pragmas_are_the_documented_ones(store):
    one(store, "relabel", "dog", version=0)
    db = sqlite3.connect(store.path)
    tables = ("history", "current")
    columns = {t: [row[1] for row in db.execute(f"PRAGMA table_info({t})")] for t in tables}
    assert columns["history"] == ["seq", "id", "action", "label", "reviewer", "time"]
    assert columns["current"] == ["id", "action", "label", "reviewer", "time", "version"]
    assert db.execute("SELECT id, action, label, reviewer, version FROM current").fetchall() == [
        ("a", "relabel", "dog", "Ada", 1)
    ]
    with pytest.raises(sqlite3.IntegrityError, match="CHECK"):
        db.execute("INSERT INTO current VALUES('b', 'guess', NULL, 'Ada', '', 1)")
    db.close()
    assert store._db.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    assert store._db.execute("PRAGMA synchronous").fetchone()[0] == 2  # FULL


def test_an_old_version_is_a_conflict_and_changes_nothing(store):
    first = one(store, "keep", version=0).saved[0]
    outcome = one(store, "drop", version=0, reviewer="Bob")
    assert outcome.saved == []
    assert outcome.conflicts[0][1] == first == store.present("a")
    assert one(store, "drop", version=first.version, reviewer="Bob").saved[0].reviewer == "Bob"
    assert [d.action for d in store.history("a")] == ["drop", "keep"]


def test_agreement_is_no_conflict_and_writes_nothing(store):
    first = one(store, "relabel", "dog", version=0).saved[0]
    again = one(store, "relabel", "dog", version=0, reviewer="Bob")
    assert again.saved == [first]
    assert again.conflicts == []
    assert len(store.history("a")) == 1
    assert one(store, "relabel", "cat", version=0).conflicts


def test_undo_is_a_new_row_and_versions_never_return(store):
    first = one(store, "keep", version=0).saved[0]
    undone = one(store, UNDO, version=first.version).saved[0]
    assert store.all() == []
    assert undone.version > first.version
    assert store.present("a").version == undone.version
    assert one(store, "drop", version=0).conflicts, "the state before all decisions is gone"
    assert one(store, "drop", version=first.version).conflicts
    assert one(store, "drop", version=undone.version).saved
    assert [d.action for d in store.history("a")] == ["drop", UNDO, "keep"]


def test_a_batch_saves_what_fits(store):
    one(store, "keep", version=0, identifier="b")
    proposals = [Proposal(name, "drop", None, 0) for name in "abca"]
    outcome = store.decide(proposals, reviewer="Bob")
    assert [d.id for d in outcome.saved] == ["a", "c", "a"]  # the last one asks for what holds
    assert [p.id for p, _ in outcome.conflicts] == ["b"]


def test_a_file_that_is_no_database_is_named(tmp_path):
    (tmp_path / FILE).write_text("not a database, but long enough to be looked at " * 50)
    with pytest.raises(InputError, match=r"cannot keep decisions in .*decisions\.sqlite"):
        DecisionStore(tmp_path / FILE)


def test_many_open_a_new_file_at_once(tmp_path):
    """Of several that turn the write-ahead log on, SQLite refuses all but one at once."""
    for turn in range(30):
        start, opened = threading.Barrier(6), []

        def open_and_close(path=tmp_path / f"{turn}.sqlite", start=start, opened=opened):
            start.wait()
            store = DecisionStore(path)
            opened.append(store)

        threads = [threading.Thread(target=open_and_close) for _ in range(6)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert len(opened) == 6
        [store.close() for store in opened]


def test_two_connections_in_threads_lose_and_overwrite_nothing(tmp_path):
    """Two reviewers fight over 40 images; every confirmed decision is in the history, once."""
    saved, retries = [], Counter()

    def review(name, actions):
        mine = DecisionStore(tmp_path / FILE)
        for turn in range(250):
            identifier, done = f"image-{turn % 40}", False
            version = mine.present(identifier).version
            while not done:
                wanted = Proposal(identifier, "relabel", actions[turn % 2] + name, version)
                outcome = mine.decide([wanted], reviewer=name)
                done = bool(outcome.saved)
                if done:
                    saved.append(outcome.saved[0])
                else:
                    retries[name] += 1
                    version = outcome.conflicts[0][1].version
        mine.close()

    threads = [threading.Thread(target=review, args=(n, ("x", "y"))) for n in ("Ada", "Bob")]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    db = sqlite3.connect(tmp_path / FILE)
    history = db.execute("SELECT seq, id, label, reviewer FROM history ORDER BY seq").fetchall()
    current = db.execute("SELECT id, label, version FROM current").fetchall()
    db.close()
    assert len(saved) == len(history) == 500
    assert sorted((d.version, d.id, d.label, d.reviewer) for d in saved) == history
    last = {identifier: (label, seq) for seq, identifier, label, _ in history}
    assert {identifier: (label, seq) for identifier, label, seq in current} == last


WRITER = """
import sys
from pathlib import Path
from labelsieve.review.store import DecisionStore, Proposal
store = DecisionStore(Path(sys.argv[1]))
for k in range(100_000):
    store.decide([Proposal(f"id-{k}", "relabel", f"label {k}", 0)], reviewer="Ada")
    print(k, flush=True)  # confirmed
"""


def test_kill_9_loses_nothing_confirmed(tmp_path):
    path = tmp_path / FILE
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    confirmed = [int(process.stdout.readline()) for _ in range(60)]
    os.kill(process.pid, signal.SIGKILL)
    confirmed += [int(line) for line in process.stdout if line.endswith("\n")]
    process.stdout.close()
    assert process.wait() == -signal.SIGKILL
    store = DecisionStore(path)
    found = {d.id: d.label for d in store.all()}
    store.close()
    assert len(confirmed) >= 60
    assert {f"id-{k}": f"label {k}" for k in confirmed}.items() <= found.items()
    assert len(found) <= len(confirmed) + 1  # at most the one whose confirmation was on its way


def test_export_is_plain_csv(store, tmp_path):
    name = 'a,"b"\nc 🐈'
    one(store, "relabel", "dog, big", version=0, identifier=name)
    one(store, "unsure", version=0, identifier="z")
    assert export_decisions(tmp_path, tmp_path / "decisions.csv") == 2
    with (tmp_path / "decisions.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(r["id"], r["action"], r["label"], r["reviewer"]) for r in rows] == [
        (name, "relabel", "dog, big", "Ada"),
        ("z", "unsure", "", "Ada"),
    ]
    assert all(row["time"].endswith("+00:00") for row in rows)
    one(store, "keep", version=0, identifier="y")
    assert export_decisions(tmp_path, tmp_path / "decisions.csv") == 3
    with pytest.raises(InputError, match="no decisions yet"):
        export_decisions(tmp_path / "elsewhere", tmp_path / "d.csv")
    (tmp_path / "metadata.csv").write_text("file_name,label\na.png,cat\n")
    for mine in ("metadata.csv", "."):
        with pytest.raises(InputError, match="exists and holds no decisions; name another file"):
            export_decisions(tmp_path, tmp_path / mine)
    assert (tmp_path / "metadata.csv").read_text() == "file_name,label\na.png,cat\n"
