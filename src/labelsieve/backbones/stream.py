"""A bounded pipeline: work in threads, results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


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
