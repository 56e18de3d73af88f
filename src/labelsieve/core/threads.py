"""Small fits on one thread: several threads would only wait for each other."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

SMALL = 3e7
"""Multiplications of one product below which a second thread does not pay."""


@contextmanager
def threads_for(work: float) -> Iterator[None]:
    """One thread for BLAS and OpenMP inside the block where the products in it are small.

    The many short products of a small L-BFGS fit are shared among threads at a cost of their own,
    which on a busy machine is several times the product: every thread waits for the slowest.

    Parameters
    ----------
    work : float
        Multiplications of one product, such as rows times columns times classes.

    Examples
    --------
    >>> with threads_for(200 * 16 * 10):
    ...     pass  # a fit
    """
    if work >= SMALL:
        yield
        return
    with _controller().limit(limits=1):
        yield


@cache
def _controller() -> Any:
    """Looks for the loaded libraries once."""
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController()
