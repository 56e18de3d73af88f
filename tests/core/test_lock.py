"""One process at a time; a lock ends with its process and leaves no file."""

import errno
import os
import subprocess
import sys

import pytest

from labelsieve.core import lock
from labelsieve.core.exceptions import InputError
from labelsieve.core.lock import alone

fcntl = pytest.importorskip("fcntl")
HOLD = """
import sys, time
from pathlib import Path
from labelsieve.core.lock import alone
with alone(Path(sys.argv[1]), "busy"):
    print("held", flush=True)
    time.sleep(600)
"""


def test_another_process_is_refused_until_it_ends_however_it_ends(tmp_path):
    path = tmp_path / "new" / "lock"
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == b"held"
    with pytest.raises(InputError, match=r"^a scan is at it$"), alone(path, "a scan is at it"):
        pass
    holder.kill()
    holder.communicate()
    assert path.exists()  # a stale file holds nobody off
    with alone(path, "busy"), pytest.raises(InputError, match=r"^busy$"), alone(path, "busy"):
        pass
    assert not path.exists()


def test_a_lock_that_was_removed_meanwhile_is_taken_anew(tmp_path, monkeypatch):
    """Who opened the file before its holder removed it would hold a file without a name."""
    path, take = tmp_path / "lock", lock._take

    def remove_once(file):
        monkeypatch.setattr(lock, "_take", take)
        path.unlink()
        take(file)

    monkeypatch.setattr(lock, "_take", remove_once)
    with alone(path, "busy"):
        assert path.exists()
        with pytest.raises(InputError, match="busy"), alone(path, "busy"):
            pass


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_file_system_without_locks_holds_nobody_off(number, tmp_path, monkeypatch):
    def refuse(file, operation):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with alone(tmp_path / "lock", "busy"), alone(tmp_path / "lock", "busy"):
        pass


def test_a_file_system_that_names_a_file_anew_each_time_is_no_trouble(tmp_path, monkeypatch):
    monkeypatch.setattr(lock, "_is_at", lambda file, path: False)
    with alone(tmp_path / "lock", "busy"):
        pass
