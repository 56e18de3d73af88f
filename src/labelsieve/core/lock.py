"""One process at a time at a folder; a lock ends with its process, however that ends."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .exceptions import InputError

log = logging.getLogger(__name__)
ATTEMPTS = 10
BUSY = (errno.EAGAIN, errno.EACCES, errno.EDEADLK)


@contextlib.contextmanager
def alone(path: Path, busy: str) -> Iterator[None]:
    """Hold a file against everybody else; the system lets go of it when the process ends.

    On a file system without locks nobody is held off.

    Parameters
    ----------
    path : Path
        The file; made where it is not there, and gone afterwards. It may stay after a kill: a file
        without a process that holds it holds nobody off.
    busy : str
        What to say when it is held already.

    Raises
    ------
    InputError
        If somebody else holds it.

    Examples
    --------
    >>> import tempfile
    >>> lock = Path(tempfile.mkdtemp()) / "lock"
    >>> with alone(lock, "another run is at it"):
    ...     with alone(lock, "another run is at it"):
    ...         pass
    Traceback (most recent call last):
    labelsieve.core.exceptions.InputError: another run is at it
    """
    file = _held(path, busy)
    try:
        yield
    finally:
        if sys.platform != "win32":  # there an open file cannot go, and the lock must go first
            _remove(file, path)
        _let_go(file)
        if sys.platform == "win32":
            with contextlib.suppress(OSError):  # somebody else has opened it
                path.unlink()


def _held(path: Path, busy: str) -> IO[bytes]:
    """The open file, locked, under its name."""
    for attempt in range(ATTEMPTS):
        last = attempt == ATTEMPTS - 1
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("ab")
        except FileNotFoundError:  # whoever held it has removed the folder meanwhile
            if last:
                raise
            continue
        try:
            _take(file)
        except OSError as error:
            file.close()
            raise InputError(busy) from error
        if _is_at(file, path) or last:  # some file systems give a file a new number each time
            return file
        file.close()
    raise AssertionError("the last attempt returns or raises")


def _is_at(file: IO[bytes], path: Path) -> bool:
    """Whether an open file still has its name."""
    with contextlib.suppress(OSError):
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    return False


def _remove(file: IO[bytes], path: Path) -> None:
    with contextlib.suppress(OSError):
        if _is_at(file, path):
            path.unlink()


def _take(file: IO[bytes]) -> None:
    """Lock an open file without waiting; `OSError` if somebody else holds it."""
    try:
        if sys.platform == "win32":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in BUSY:
            raise
        log.info("%s cannot be locked on this file system: %s", file.name, error)


def _let_go(file: IO[bytes]) -> None:
    if sys.platform == "win32":
        import msvcrt

        with contextlib.suppress(OSError):
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)
    file.close()
