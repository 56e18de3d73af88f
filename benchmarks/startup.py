"""Start-up: how long `labelsieve --help` takes, and how soon `scan` shows progress on a terminal.

python benchmarks/startup.py [--quick]
"""

from __future__ import annotations

import argparse
import fcntl
import os
import pty
import statistics
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from timing import save, seconds

COMMAND = [sys.executable, "-m", "labelsieve"]


def command(*arguments: str) -> float:
    """Seconds of one process."""
    return seconds(lambda: subprocess.run(arguments, check=True, capture_output=True))


def folder_of_images(root: Path, n: int = 200) -> Path:
    """Two classes of noise."""
    rng = np.random.default_rng(0)
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        for i in range(n):
            pixels = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
            Image.fromarray(pixels).save(root / name / f"{i}.png")
    return root


def scan_output() -> dict[str, float]:
    """Seconds until a scan writes its first line, its first bar and the bar of the images."""
    with tempfile.TemporaryDirectory() as folder:
        data = folder_of_images(Path(folder) / "data")
        terminal, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        environment = {**os.environ, "LABELSIEVE_CACHE": folder, "TERM": "xterm"}
        scan = [*COMMAND, "scan", str(data), "-o", f"{folder}/out", "--model", "mini-glyph"]
        started = time.perf_counter()
        child = subprocess.Popen(scan, stdout=other, stderr=other, env=environment)
        os.close(other)
        seen, found = b"", {}
        while "features" not in found:
            try:
                seen += os.read(terminal, 4096)
            except OSError:  # the child has closed the terminal
                break
            now = time.perf_counter() - started
            marks = {"line": b"images", "bar": b"loading", "features": b"image features"}
            for name, mark in marks.items():
                if mark in seen:
                    found.setdefault(name, now)
        child.kill()
        child.wait()
        os.close(terminal)
    return found


def run(repeats: int) -> dict[str, dict[str, Any]]:
    """Medians over the repeats."""
    scans = [scan_output() for _ in range(repeats)]
    bare = [command(sys.executable, "-c", "import torch") for _ in range(repeats)]
    plain = statistics.median(bare)
    helps = [command(*COMMAND, "--help") for _ in range(3 * repeats)]
    found: dict[str, dict[str, Any]] = {
        "startup_help": {"seconds_fast": statistics.median(helps), "limit": 0.3}
    }
    for name in ("line", "bar", "features"):
        first = statistics.median(scan[name] for scan in scans)
        after = {"seconds_of_torch": plain, "seconds_after_torch": first - plain}
        limit = {"limit": 3.0} if name == "bar" else {}
        found[f"startup_scan_{name}"] = {"seconds_fast": first, **after, **limit}
    return found


def main() -> None:
    """Run and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    save(run(1 if arguments.quick else 3), quick=arguments.quick)


if __name__ == "__main__":
    main()
