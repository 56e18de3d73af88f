"""`labelsieve review` as a process, for the tests of its page."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from contextlib import contextmanager

# The last one: killed in the middle of an image.
AWAY = [
    "ERR_CONNECTION_REFUSED",
    "ERR_CONNECTION_RESET",
    "ERR_EMPTY_RESPONSE",
    "ERR_CONTENT_LENGTH_MISMATCH",
]


@contextmanager
def command(folder, *arguments):
    """`labelsieve review` as a person starts it; yields the process and its address."""
    process = subprocess.Popen(
        [sys.executable, "-m", "labelsieve", "review", folder, "--no-browser", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def decisions(folder):
    db = sqlite3.connect(folder / "decisions.sqlite")
    found = {i: (a, label) for i, a, label in db.execute("SELECT id, action, label FROM current")}
    db.close()
    return found


def saved(page):
    page.locator("#saved", has_text=re.compile("^saved$")).wait_for()
