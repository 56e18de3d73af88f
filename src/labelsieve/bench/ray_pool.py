"""Tasks on a Ray cluster: the second executor of a benchmark."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from ..core.cluster import Cluster, connected
from .cost import peak_memory_mb
from .pool import LEAST_MB, RESERVE, AbstractExecutor, threads_for, work
from .tasks import Settings, Task

RETRIES = 2
"""How often a task is tried again after its worker died."""
KILLED = -9
PASSED_ON = ("LABELSIEVE_", "HF_", "TRANSFORMERS_", "AWS_", "OMP_", "MKL_")
"""Starts of names of the environment that workers on other machines are given."""


class RayExecutor(AbstractExecutor):
    """Workers of a Ray cluster, each a new process for each task.

    A task reserves as many processors as it has threads, a GPU where there are any, and as much
    memory as the largest task so far took, with some reserve; Ray decides what fits where. Results
    and cache must have the same path on every machine.

    Parameters
    ----------
    ray : module
        Connected.
    settings : Settings
    workers : int
        Tasks at a time.
    """

    def __init__(self, ray: Any, settings: Settings, workers: int):
        self.ray, self.settings, self.workers = ray, settings, workers
        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self.largest_node = max(node.get("memory", 0) for node in nodes)
        wanted = settings.device in ("auto", "cuda")
        self.gpus = int(wanted and any(node.get("GPU", 0) >= 1 for node in nodes))
        self.peak_mb = LEAST_MB
        self.running: list[Any] = []

    def has_room(self) -> bool:
        """Below `workers`; what does not fit at once waits in Ray."""
        return len(self.running) < self.workers

    def start(self, task: Task) -> Any:
        """A remote call, tried again when its process dies."""
        options = {
            "num_cpus": self.settings.threads,
            "num_gpus": self.gpus,
            "memory": min(RESERVE * self.peak_mb * 2**20, self.largest_node),
            "max_calls": 1,  # a process of its own: its peak memory and its failures are its own
            "max_retries": RETRIES,
        }
        self.running.append(self.ray.remote(**options)(_work).remote(task, self.settings))
        return self.running[-1]

    def wait(self) -> list[tuple[Any, int]]:
        """Calls that have ended; a worker that died too often counts as killed."""
        done, self.running = self.ray.wait(self.running, timeout=5)
        return [(call, self._code(call)) for call in done]

    def _code(self, call: Any) -> int:
        try:
            self.peak_mb = max(self.peak_mb, self.ray.get(call) or 0.0)
        except self.ray.exceptions.RayTaskError:
            return 1
        except self.ray.exceptions.RayError:
            return KILLED
        return 0

    def stop(self) -> None:
        """End the calls that run, with their processes."""
        for call in self.running:
            self.ray.cancel(call, force=True)
        self.running = []


@contextmanager
def ray_executor(cluster: Cluster, settings: Settings) -> Iterator[RayExecutor]:
    """Connect to a cluster; its processors are shared among the tasks that run at a time."""
    with connected(cluster) as ray:
        processors = max(1, int(ray.cluster_resources().get("CPU", 1)))
        workers = cluster.workers or processors
        given = settings.environment.items()
        environment = {name: value for name, value in given if name.startswith(PASSED_ON)}
        threads = min(threads_for(workers, processors), _fewest_processors(ray))
        settings = replace(settings, threads=threads, environment=environment)
        yield RayExecutor(ray, settings, workers)


def _fewest_processors(ray: Any) -> int:
    """Processors of the smallest machine that has any: a task with more would wait for ever."""
    nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    return max(1, min([n for n in nodes if n] or [1]))


def _work(task: Task, settings: Settings) -> float | None:
    """What a worker does; returns the peak memory of its process in MiB."""
    work(task, settings)
    return peak_memory_mb()
