"""Decisions on disk: each one is durable before it is confirmed, none is overwritten unseen."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from ..core.exceptions import InputError

FILE = "decisions.sqlite"
ACTIONS = ("keep", "relabel", "drop", "unsure")
UNDO = "undo"  # in the history only: from here on there is no decision
BUSY_SECONDS = 20.0

SCHEMA = """
CREATE TABLE IF NOT EXISTS history(
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL, action TEXT NOT NULL, label TEXT, reviewer TEXT, time TEXT);
CREATE TABLE IF NOT EXISTS current(
    id TEXT PRIMARY KEY,
    action TEXT NOT NULL CHECK(action IN ('keep','relabel','drop','unsure')),
    label TEXT, reviewer TEXT, time TEXT, version INTEGER NOT NULL);
CREATE INDEX IF NOT EXISTS history_id ON history(id, seq);
"""


@dataclass(frozen=True)
class Decision:
    """What holds for an image.

    Attributes
    ----------
    id : str
        Of the image.
    action : str
        One of `ACTIONS`, or "undo" where there is no decision.
    label : str or None
        The new label of a "relabel", the label that a "keep" keeps.
    reviewer, time : str or None
        Who decided, and when (UTC, ISO 8601).
    version : int
        ``seq`` of the last row of the image in the history; 0 when there is none. It only grows,
        so a version names one state of one image for ever.
    """

    id: str
    action: str = UNDO
    label: str | None = None
    reviewer: str | None = None
    time: str | None = None
    version: int = 0


@dataclass(frozen=True)
class Proposal:
    """A decision that somebody wants, and the version that they were looking at."""

    id: str
    action: str
    label: str | None
    version: int


@dataclass(frozen=True)
class Outcome:
    """What became of proposals: `saved`, and the `conflicts` as (proposal, what holds)."""

    saved: list[Decision]
    conflicts: list[tuple[Proposal, Decision]]


class DecisionStore:
    """The decisions about the images of one scan; safe for many threads and processes.

    Parameters
    ----------
    path : Path
        The SQLite file, made when it is not there.

    Raises
    ------
    InputError
        If it cannot be opened or is no database.

    Notes
    -----
    Write-ahead log with ``synchronous=FULL``: `decide` returns after the log reached the disk, so
    what it has returned survives a kill of the process and a loss of power.
    """

    def __init__(self, path: Path):
        self.path = path
        self._lock = threading.RLock()
        try:
            # autocommit; transactions are opened explicitly
            self._db = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise _unusable(path, error) from error
        try:
            _write_ahead(self._db)
            self._db.execute("PRAGMA synchronous=FULL")
            self._db.executescript(SCHEMA)
        except sqlite3.Error as error:
            self._db.close()
            raise _unusable(path, error) from error

    def close(self) -> None:
        """Close the file; the write-ahead log is folded into it."""
        with self._lock:
            self._db.close()

    def decide(self, proposals: Sequence[Proposal], *, reviewer: str) -> Outcome:
        """Save proposals in one transaction; return when they are on the disk.

        A proposal that is based on another version than the present one is a conflict and changes
        nothing, unless it asks for just what holds: then there is nothing to decide.

        Parameters
        ----------
        proposals : sequence of Proposal
            In order. The action "undo" takes a decision back.
        reviewer : str
            Who decides.

        Returns
        -------
        Outcome
            One entry a proposal, in one of its two lists.
        """
        saved: list[Decision] = []
        conflicts: list[tuple[Proposal, Decision]] = []
        with self._transaction():
            for proposal in proposals:
                present = self._present(proposal.id)
                if present.version == proposal.version:
                    saved.append(self._write(proposal, reviewer))
                elif (present.action, present.label) == (proposal.action, proposal.label):
                    saved.append(present)
                else:
                    conflicts.append((proposal, present))
        return Outcome(saved, conflicts)

    def seed(self, decisions: Sequence[Decision]) -> int:
        """Take over decisions of elsewhere for images without any history; returns how many."""
        count = 0
        with self._transaction():
            for decision in decisions:
                if self._present(decision.id).version == 0:
                    wanted = Proposal(decision.id, decision.action, decision.label, 0)
                    self._write(wanted, decision.reviewer, decision.time)
                    count += 1
        return count

    def present(self, identifier: str) -> Decision:
        """What holds for an image."""
        with self._lock:
            return self._present(identifier)

    def all(self) -> list[Decision]:
        """Every decision that holds, ordered by id."""
        query = "SELECT id, action, label, reviewer, time, version FROM current ORDER BY id"
        with self._lock:
            return [Decision(*row) for row in self._db.execute(query)]

    def history(self, identifier: str, *, limit: int = 20) -> list[Decision]:
        """The decisions about one image, the last one first."""
        query = (
            "SELECT id, action, label, reviewer, time, seq FROM history "
            "WHERE id = ? ORDER BY seq DESC LIMIT ?"
        )
        with self._lock:
            return [Decision(*row) for row in self._db.execute(query, (identifier, limit))]

    def since(self, seq: int) -> list[Decision]:
        """The rows of the history after `seq`, from all threads and processes, in order."""
        query = (
            "SELECT id, action, label, reviewer, time, seq FROM history WHERE seq > ? ORDER BY seq"
        )
        with self._lock:
            return [Decision(*row) for row in self._db.execute(query, (seq,))]

    def _present(self, identifier: str) -> Decision:
        query = "SELECT id, action, label, reviewer, time, version FROM current WHERE id = ?"
        row = self._db.execute(query, (identifier,)).fetchone()
        if row is not None:
            return Decision(*row)
        query = "SELECT id, action, label, reviewer, time, seq FROM history WHERE id = ? ORDER BY seq DESC LIMIT 1"  # noqa: E501
        row = self._db.execute(query, (identifier,)).fetchone()
        return Decision(identifier) if row is None else Decision(*row)

    def _write(self, proposal: Proposal, reviewer: str | None, time: str | None = None) -> Decision:
        time = time or datetime.now(timezone.utc).isoformat(timespec="milliseconds")
        values = (proposal.id, proposal.action, proposal.label, reviewer, time)
        seq = self._db.execute(
            "INSERT INTO history(id, action, label, reviewer, time) VALUES(?, ?, ?, ?, ?)", values
        ).lastrowid
        decision = Decision(*values, version=int(seq or 0))
        if proposal.action == UNDO:
            self._db.execute("DELETE FROM current WHERE id = ?", (proposal.id,))
        else:
            self._db.execute(
                "INSERT OR REPLACE INTO current(id, action, label, reviewer, time, version) "
                "VALUES(?, ?, ?, ?, ?, ?)",
                (*values, decision.version),
            )
        return decision

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """Lock the file for writing before the versions are read, commit or undo everything."""
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise


def _unusable(path: Path, error: sqlite3.Error) -> InputError:
    return InputError(
        f"cannot keep decisions in {path}: {error}; check that the folder can be written and that "
        "the file is a decisions.sqlite of labelsieve (move it away to start anew)"
    )


def _write_ahead(db: sqlite3.Connection) -> None:
    """Switch to the write-ahead log, also while another process does so with a new file.

    SQLite does not wait for that by itself: of two that hold a lock it refuses one at once.
    """
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if "locked" not in str(error) or time.monotonic() > deadline:
                raise
            time.sleep(0.01)
