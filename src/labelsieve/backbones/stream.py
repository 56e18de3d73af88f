"""A bounded pipeline: work in threads, results in order."""

from __future__ import annotations

import logging
import math
import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

log = logging.getLogger(__name__)
T = TypeVar("T")
HEADROOM = 1.5
"""Threads per thread that would just keep up."""
MOST_THREADS = 32
"""Beyond these, Python itself is what they wait for."""


def at_pace(
    task: Callable[[int], T], rows: Sequence[int], workers: int | None, *, batch: int
) -> Generator[T, None, None]:
    """Results of `task` in the order of `rows`, by as many threads as the consumer needs.

    With `workers` None the first batch is worked on in the calling thread, and timed beside what
    the consumer does with it; the rest is `in_order`, two batches ahead.

    Examples
    --------
    >>> list(at_pace(lambda row: row * row, range(12), None, batch=3))[-1]
    121
    """
    probed = rows[: 0 if workers is not None else batch]
    started = time.perf_counter()
    first = [task(row) for row in probed]
    made = time.perf_counter()
    yield from first
    if workers is None:
        used = time.perf_counter() - made
        workers = threads_to_keep_up(made - started, used, os.cpu_count() or 1)
        log.info("%d threads prepare images", workers)
    yield from in_order(task, rows[len(probed) :], workers, ahead=2 * batch)


def threads_beside(device: Any) -> int:
    """Threads that prepare images for an encoder on `device`, where no time is measured.

    Two on the CPU, which they share with the encoder. A GPU takes no core away from them and is
    faster than they are, so they are as many as there are cores.

    Examples
    --------
    >>> import torch
    >>> threads_beside(torch.device("cpu"))
    2
    """
    return 2 if device.type == "cpu" else min(os.cpu_count() or 1, MOST_THREADS)


def threads_to_keep_up(preparing: float, using: float, n_cores: int) -> int:
    """Threads that prepare images at least as fast as they are used.

    Parameters
    ----------
    preparing, using : float
        Seconds for the same images.
    n_cores : int
        An upper bound.

    Examples
    --------
    >>> threads_to_keep_up(0.004, 0.05, 2), threads_to_keep_up(0.004, 0.0005, 16)
    (1, 12)
    """
    needed = math.ceil(HEADROOM * preparing / max(using, 1e-9))
    return min(max(needed, 1), max(n_cores, 1))


def in_order(
    task: Callable[[int], T], rows: Iterable[int], workers: int, *, ahead: int
) -> Generator[T, None, None]:
    """Results of `task` in the order of `rows`.

    Parameters
    ----------
    task : callable
        Takes a row; runs in a thread.
    rows : iterable of int
        What to run it on.
    workers : int
        Threads; 0 runs the task in the calling thread.
    ahead : int
        How many results may wait, which bounds the memory.

    Examples
    --------
    >>> list(in_order(lambda row: row * row, range(4), workers=2, ahead=3))
    [0, 1, 4, 9]
    """
    if workers == 0:
        yield from map(task, rows)
        return
    waiting: deque[Future[T]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="labelsieve-images") as pool:
        try:
            for row in rows:
                waiting.append(pool.submit(task, row))
                if len(waiting) >= ahead:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
