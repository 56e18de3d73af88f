"""The scan once more, with the decisions held fixed, in a process beside the server."""

from __future__ import annotations

import json
import logging
import shlex
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from ..core.exceptions import InputError

logger = logging.getLogger(__name__)
LOG = "refit.log"
LAST = 400  # characters of what a failed scan said
DATA_FLAGS = ("image_column", "label_column", "class_names", "split")


def scan_command(folder: Path, run: dict[str, Any]) -> list[str]:
    """The arguments of `labelsieve` that repeat a scan in its folder, with its decisions.

    Parameters
    ----------
    folder : Path
        Output folder of a scan.
    run : dict
        Its run.json.

    Raises
    ------
    InputError
        If the record does not hold how the scan was made, or no command line can say it.
    """
    config, data = run.get("config") or {}, run.get("data") or {}
    source, detector = data.get("source"), config.get("detector")
    quoted = shlex.quote(str(folder))
    by_hand = f"scan again with `labelsieve scan DATA -o {quoted} --force --decisions {quoted}`"
    if not source or not detector:
        raise InputError(f"run.json does not say how this scan was made; {by_hand}")
    if config.get("tuner_params"):
        raise InputError("this scan was made in Python with tuner_params; fit it again there")
    flags = {name: data.get(name) for name in DATA_FLAGS}
    flags |= {name: config.get(name) for name in ("model", "detector", "tuner", "device", "dtype")}
    flags["seed"] = config.get("random_state")
    command = ["scan", f"--out={folder}", f"--decisions={folder}", "--force"]
    command += [f"--{k.replace('_', '-')}={v}" for k, v in flags.items() if v is not None]
    for name, value in (config.get("detector_params") or {}).items():
        command.append(f"--param={name}={json.dumps(value)}")
    return [*command, *(["--offline"] if config.get("offline") else []), "--", str(source)]


class Refit:
    """At most one scan at a time, over all servers of a folder.

    The scan writes into the folder that is reviewed. Its results move into place when they are
    whole; the decisions are in a file that it only reads, so deciding goes on meanwhile.

    Parameters
    ----------
    folder : Path
        Output folder of a scan.
    hidden : Path
        Where the log of the process goes.
    """

    def __init__(self, folder: Path, hidden: Path):
        self.folder, self.log = folder, hidden / LOG
        self._process: subprocess.Popen[bytes] | None = None
        self._started = self._took = 0.0
        self._usual: float | None = None
        self._lock = threading.Lock()

    def start(self, run: dict[str, Any]) -> None:
        """Begin, unless a scan is under way.

        Raises
        ------
        InputError
            If the scan cannot be repeated, or another server is at it.
        """
        with self._lock:
            if self._process is not None and self._process.poll() is None:
                return
            command = scan_command(self.folder, run)
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("ab") as log:
                _claim(log)
                log.truncate(0)
                self._process = subprocess.Popen(
                    [sys.executable, "-m", "labelsieve", *command],
                    stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                )  # fmt: skip
            timings = run.get("timings") or {}
            self._usual = sum(timings.values()) or None
            self._started, self._took = time.monotonic(), 0.0

    def status(self) -> dict[str, Any]:
        """``state`` (idle, running, done, failed), ``seconds``, ``usual`` seconds, ``message``."""
        process = self._process
        if process is None:
            return {"state": "idle", "seconds": 0.0, "usual": None, "message": ""}
        code = process.poll()
        if code is None or not self._took:
            self._took = time.monotonic() - self._started
        state = {None: "running", 0: "done"}.get(code, "failed")
        message = self._last_words() if state == "failed" else ""
        return {
            "state": state,
            "seconds": round(self._took, 1),
            "usual": self._usual,
            "message": message,
        }

    def stop(self) -> None:
        """End a scan that is under way; it leaves checkpoints, and the finished scan as it was."""
        process = self._process
        if process is not None and process.poll() is None:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(10)

    def _last_words(self) -> str:
        try:
            text = self.log.read_text(encoding="utf-8", errors="replace").strip()
        except OSError:
            text = ""
        return text[-LAST:] or "the scan ended without a word"


def _claim(log: IO[bytes]) -> None:
    """Lock the log for as long as this server's scan runs: its process holds the file open."""
    try:
        import fcntl
    except ImportError:  # Windows: two servers at once are on their own
        return
    try:
        fcntl.flock(log, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise InputError("another review of this folder is scanning already") from error
    except OSError:  # a file system without locks
        return
