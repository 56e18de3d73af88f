"""An output folder that is written by one run at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from ..core.exceptions import InputError
from ..core.lock import alone

WORK = ".work"
"""Sub-folder of what an unfinished run keeps."""
LOCK = "lock"


@contextlib.contextmanager
def claimed(out: Path, check: Callable[[], None], *, what: str = "run") -> Iterator[None]:
    """Hold an output folder while the block runs.

    The lock lies among the checkpoints and goes with them. A run that is killed lets go of it, and
    what it kept is continued.

    Parameters
    ----------
    out : Path
        The folder; made where it is not there.
    check : callable
        Raises where the folder is not free for other reasons; called again under the lock, since
        a run that has just ended may have left its results.
    what : str
        Who else may write there.

    Raises
    ------
    InputError
        If another run writes to the folder, or it cannot be written to.
    """
    check()
    was_there = out.exists()
    busy = f"another {what} writes to {out}; wait for it or end it, or name another folder"
    try:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(alone(out / WORK / LOCK, busy))
            except OSError as error:
                raise InputError(f"cannot write to {out}: {error}") from error
            check()
            yield
    finally:
        with contextlib.suppress(OSError):  # only where they hold nothing
            if [path.name for path in out.iterdir()] == [WORK]:
                (out / WORK).rmdir()
                if not was_there:
                    out.rmdir()


def is_unfinished(out: Path) -> bool:
    """Whether an earlier run has left something to continue from."""
    work = out / WORK
    return work.is_dir() and any(path.name != LOCK for path in work.iterdir())
