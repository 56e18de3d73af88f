"""Blocks through actor pools of Ray Data."""

from __future__ import annotations

import contextlib
import importlib
import logging
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ..core.cluster import Cluster, connected
from ..core.exceptions import LabelSieveError


class _Actor:
    """Holds what a worker needs between blocks, such as the model."""

    def __init__(self, prepare: bytes):
        self.compute = pickle.loads(prepare)()

    def __call__(self, batch: Any) -> Any:
        import pyarrow as pa

        done = [pickle.dumps(self.compute(pickle.loads(t.as_py()))) for t in batch["task"]]
        return pa.table({"done": done})


def run_tasks(
    prepare: Callable[[], Callable[[Any], Any]],
    tasks: Sequence[Any],
    cluster: Cluster,
    *,
    use_gpu: bool = False,
) -> Iterator[Any]:
    """Results of tasks in the order in which they end, computed by a pool of actors.

    A worker that dies is replaced and its task is done again, so a task must give the same result
    when it is repeated.

    Parameters
    ----------
    prepare : callable
        Called once in each worker; returns the function of a task. It must be possible to pickle.
    tasks : sequence
        What to compute; pickled one by one.
    cluster : Cluster
    use_gpu : bool
        Give each worker a GPU, where the cluster has any.
    """
    if not tasks:
        return
    import pyarrow as pa

    with connected(cluster) as ray, _quiet(ray):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of its own parts
            importlib.import_module("ray.data")
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if use_gpu else 0
        most = cluster.workers or gpus or max(1, int(resources.get("CPU", 1)))
        size = max(1, min(most, len(tasks)))
        need = {"num_gpus": 1} if gpus else {"num_cpus": 1}
        data = ray.data.from_arrow([pa.table({"task": [pickle.dumps(task)]}) for task in tasks])
        results = data.map_batches(
            _Actor,
            batch_size=1,
            batch_format="pyarrow",
            fn_constructor_args=(pickle.dumps(prepare),),
            compute=ray.data.ActorPoolStrategy(size=size),
            **need,
        )
        try:
            for row in results.iter_rows():
                yield pickle.loads(row["done"])
        except ray.exceptions.RayError as error:
            raise LabelSieveError(
                f"the Ray cluster failed: {_last_line(error)}; what is finished is kept, run the "
                "same command to continue"
            ) from error


@contextlib.contextmanager
def _quiet(ray: Any) -> Iterator[None]:
    """Ray Data without its bars and its plan in the log."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _last_line(error: BaseException) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
