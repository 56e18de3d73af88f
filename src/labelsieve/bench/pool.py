"""Tasks in processes of their own, several at a time, each alone with its failures."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Generator
from multiprocessing.connection import wait
from typing import Any

from .cost import available_memory_mb
from .tasks import Settings, Task

RESERVE = 1.2
"""A further process starts when this times the largest peak so far is free."""


def run_tasks(
    tasks: list[Task], settings: Settings, *, jobs: int
) -> Generator[tuple[Task, int], None, None]:
    """Run tasks, each after those it names; yields a task and its exit code as it ends.

    Closing the iterator ends the processes that run.

    Parameters
    ----------
    tasks : list of Task
        What a task comes after stands before it, or is done already.
    settings : Settings
    jobs : int
        Processes at a time; fewer where memory is short.
    """
    method = "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
    context = multiprocessing.get_context(method)
    if method == "forkserver":
        context.set_forkserver_preload(["labelsieve.bench.worker"])
    waiting, ended = list(tasks), set()
    running: dict[Any, tuple[Task, Any]] = {}
    pending = {task.key for task in tasks}
    try:
        while waiting or running:
            while waiting and len(running) < jobs and _memory_allows(running):
                task = _next_ready(waiting, pending - ended)
                if task is None:
                    break
                waiting.remove(task)
                process = _start(context, task, settings)
                running[process.sentinel] = (task, process)
            for sentinel in wait(list(running), timeout=5):
                task, process = running.pop(sentinel)
                process.join()
                ended.add(task.key)
                yield task, process.exitcode
    finally:
        for _, process in running.values():
            process.terminate()
        for _, process in running.values():
            process.join(5)
            if process.is_alive():
                process.kill()


def threads_for(jobs: int) -> int:
    """Threads of each of several processes that share the processors, at least 1."""
    try:
        processors = len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS and Windows
        processors = os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, min(processors // jobs, int(asked) if asked.isdecimal() else processors))


def work(task: Task, settings: Settings) -> None:
    """What a process does; it imports the heavy part, this one need not."""
    from .worker import start

    start(task, settings)


def _start(context: Any, task: Task, settings: Settings) -> Any:
    process = context.Process(target=work, args=(task, settings))
    process.start()
    return process


def _next_ready(waiting: list[Task], open_keys: set[str]) -> Task | None:
    """The first task that waits for nothing."""
    return next((task for task in waiting if not open_keys.intersection(task.after)), None)


def _memory_allows(running: dict[Any, Any]) -> bool:
    """Whether one more process like the largest of those running fits."""
    free = available_memory_mb()
    if not running or free is None:
        return True
    sizes = [_resident_mb(process.pid) for _, process in running.values()]
    return free > RESERVE * max([1024.0, *sizes])


def _resident_mb(pid: int) -> float:
    """Largest resident size of a process so far, in MiB; 0 where it is not told."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            lines = [line for line in file if line.startswith("VmHWM")]
        return int(lines[0].split()[1]) / 1024
    except (OSError, IndexError, ValueError):
        return 0.0
