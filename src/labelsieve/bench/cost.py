"""What a piece of work costs: seconds on the clock, processor seconds, peak memory."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def timed(record: dict[str, Any], name: str) -> Iterator[None]:
    """Note the clock and processor seconds of a block as ``seconds_NAME`` and ``cpu_NAME``.

    Examples
    --------
    >>> record = {}
    >>> with timed(record, "fit"):
    ...     pass
    >>> sorted(record)
    ['cpu_fit', 'seconds_fit']
    """
    clock, processor = time.perf_counter(), time.process_time()
    yield
    _wait_for_device()
    record[f"seconds_{name}"] = round(time.perf_counter() - clock, 4)
    record[f"cpu_{name}"] = round(time.process_time() - processor, 4)


def peak_memory_mb() -> float | None:
    """The largest resident size of this process so far, in MiB; None where it is not told."""
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (2**20 if sys.platform == "darwin" else 2**10), 1)


def peak_device_memory_mb() -> float | None:
    """The largest allocation on the CUDA device so far, in MiB; None without one."""
    import torch

    if not (torch.cuda.is_available() and torch.cuda.is_initialized()):
        return None
    return round(torch.cuda.max_memory_allocated() / 2**20, 1)


def available_memory_mb() -> float | None:
    """Memory that new processes may take, in MiB; None where the system does not tell."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            lines = dict(line.split(":", 1) for line in file)
        return int(lines["MemAvailable"].split()[0]) / 1024
    except (OSError, KeyError, ValueError):
        return None


def _wait_for_device() -> None:
    """Work on a CUDA device runs on while the clock is read; wait for it."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.synchronize()
