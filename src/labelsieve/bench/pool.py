"""Tasks in processes of their own, several at a time, each alone with its failures."""

from __future__ import annotations

import multiprocessing
import os
from abc import ABC, abstractmethod
from collections.abc import Collection, Generator
from multiprocessing.connection import wait
from typing import Any

from .cost import available_memory_mb
from .tasks import Settings, Task

RESERVE = 1.2
"""A further process starts when this times the largest peak so far is free."""
LEAST_MB = 1024.0
"""Memory that a process is taken to need before any was seen."""


class AbstractExecutor(ABC):
    """Where tasks run: each in a process of its own, several at a time."""

    @abstractmethod
    def has_room(self) -> bool:
        """Whether one more task may start now."""

    @abstractmethod
    def start(self, task: Task) -> Any:
        """Start a task; returns what `wait` calls it."""

    @abstractmethod
    def wait(self) -> list[tuple[Any, int]]:
        """Tasks that have ended, with their exit codes; maybe none after some seconds."""

    @abstractmethod
    def stop(self) -> None:
        """End what runs."""


def run_tasks(
    tasks: list[Task], executor: AbstractExecutor
) -> Generator[tuple[Task, int], None, None]:
    """Run tasks, each after those it names; yields a task and its exit code as it ends.

    Closing the iterator ends the processes that run.

    Parameters
    ----------
    tasks : list of Task
        What a task comes after stands before it, or is done already.
    executor : AbstractExecutor
    """
    waiting, ended = list(tasks), set()
    running: dict[Any, Task] = {}
    pending = {task.key for task in tasks}
    try:
        while waiting or running:
            while waiting and executor.has_room():
                task = _next_ready(waiting, pending - ended)
                if task is None:
                    break
                waiting.remove(task)
                running[executor.start(task)] = task
            for name, code in executor.wait():
                task = running.pop(name)
                ended.add(task.key)
                yield task, code
    finally:
        executor.stop()


class LocalExecutor(AbstractExecutor):
    """Processes of this machine, fewer where memory is short.

    Parameters
    ----------
    settings : Settings
    jobs : int
        Processes at a time.
    """

    def __init__(self, settings: Settings, jobs: int):
        self.settings, self.jobs = settings, jobs
        method = (
            "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() else "spawn"
        )
        self.context: Any = multiprocessing.get_context(method)
        if method == "forkserver":
            self.context.set_forkserver_preload(["labelsieve.bench.worker"])
        self.running: dict[Any, Any] = {}

    def has_room(self) -> bool:
        """Below `jobs`, and one more process like the largest of those running fits."""
        return len(self.running) < self.jobs and _memory_allows(self.running.values())

    def start(self, task: Task) -> Any:
        """A new process."""
        process = self.context.Process(target=work, args=(task, self.settings))
        process.start()
        self.running[process.sentinel] = process
        return process.sentinel

    def wait(self) -> list[tuple[Any, int]]:
        """Processes that have ended."""
        ended = []
        for sentinel in wait(list(self.running), timeout=5):
            process = self.running.pop(sentinel)
            process.join()
            ended.append((sentinel, process.exitcode))
        return ended

    def stop(self) -> None:
        """Terminate, and after a while kill."""
        for process in self.running.values():
            process.terminate()
        for process in self.running.values():
            process.join(5)
            if process.is_alive():
                process.kill()


def threads_for(jobs: int, processors: int | None = None) -> int:
    """Threads of each of several processes that share the processors, at least 1."""
    if processors is None:
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


def _next_ready(waiting: list[Task], open_keys: set[str]) -> Task | None:
    """The first task that waits for nothing."""
    return next((task for task in waiting if not open_keys.intersection(task.after)), None)


def _memory_allows(running: Collection[Any]) -> bool:
    """Whether one more process like the largest of those running fits."""
    free = available_memory_mb()
    if not running or free is None:
        return True
    sizes = [_resident_mb(process.pid) for process in running]
    return free > RESERVE * max([LEAST_MB, *sizes])


def _resident_mb(pid: int) -> float:
    """Largest resident size of a process so far, in MiB; 0 where it is not told."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            lines = [line for line in file if line.startswith("VmHWM")]
        return int(lines[0].split()[1]) / 1024
    except (OSError, IndexError, ValueError):
        return 0.0
