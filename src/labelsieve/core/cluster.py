"""A Ray cluster: which one, and the connection to it."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .exceptions import InputError, MissingExtraError

ATTEMPTS = 3
"""To start Ray on this machine, which takes 30 seconds at most each."""
REACH_SECONDS = 10.0


@dataclass(frozen=True)
class Cluster:
    """Where work runs.

    Attributes
    ----------
    address : str, optional
        Of a running cluster, "auto" or "host:port"; None starts one on this machine for the time
        of the run.
    workers : int, optional
        How many at a time; by default one a GPU, or one a processor where there is no GPU.
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
    _check_reachable(cluster)
    attempts = ATTEMPTS if cluster.address is None else 1
    for left in reversed(range(attempts)):
        try:
            ray.init(address=cluster.address or "local", **options)
            return
        except Exception as error:  # a busy machine makes Ray give up with a bare Exception
            ray.shutdown()
            if left == 0:
                raise InputError(_why(cluster, error)) from error


def _check_reachable(cluster: Cluster) -> None:
    """Ask a "host:port" whether anybody is there; Ray itself would try for many minutes."""
    host, _, port = (cluster.address or "").rpartition(":")
    if not host or not port.isdecimal() or "/" in host:
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), REACH_SECONDS).close()
    except OSError as error:
        raise InputError(_why(cluster, error)) from error


def _why(cluster: Cluster, error: Exception) -> str:
    text = " ".join(str(error).split())
    if cluster.address is None:
        return f"Ray did not start on this machine in {ATTEMPTS} attempts: {text}"
    return (
        f"cannot reach the Ray cluster {cluster.address}: {text}; `ray status` on a machine of the "
        "cluster says whether it runs, and without --address one is started here"
    )
