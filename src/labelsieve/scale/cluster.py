"""Blocks through actor pools of Ray Data: the only file that knows Ray."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..core.exceptions import InputError, LabelSieveError, MissingExtraError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Cluster:
    """Where work runs.

    Attributes
    ----------
    address : str, optional
        Of a running cluster, "auto" or "host:port"; None starts one on this machine for the time
        of the run.
    workers : int, optional
        Actors; by default one a GPU, or one a processor where there is no GPU.
    """

    address: str | None = None
    workers: int | None = None


@contextlib.contextmanager
def connected(cluster: Cluster) -> Iterator[Any]:
    """The `ray` module, connected; a cluster that was started here is ended again.

    Raises
    ------
    MissingExtraError
        If Ray is not installed.
    InputError
        If the cluster cannot be reached.
    """
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Ray warns of its own parts
        try:
            import ray
            import ray.data
        except ImportError as error:
            raise MissingExtraError(
                'the engine ray needs Ray; pip install "labelsieve[scale]"'
            ) from error
        mine = not ray.is_initialized()
        if mine:
            _start(ray, cluster)
        try:
            yield ray
        finally:
            if mine:
                ray.shutdown()


def _start(ray: Any, cluster: Cluster) -> None:
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if cluster.address is None:
        options["include_dashboard"] = False
        if cluster.workers is not None:
            options["num_cpus"] = cluster.workers
    try:
        ray.init(address=cluster.address or "local", **options)
    except (ConnectionError, OSError, ValueError, RuntimeError) as error:
        raise InputError(
            f"cannot reach the Ray cluster {cluster.address or 'on this machine'}: {error}"
        ) from error


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
