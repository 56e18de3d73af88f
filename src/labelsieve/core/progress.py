"""Progress bars on standard error, silent when it is not a terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def progress(iterable: Iterable[Any] | None = None, **options: Any) -> Any:
    """A tqdm bar with the project's habits: standard error, off without a terminal.

    Parameters
    ----------
    iterable : iterable, optional
        What to iterate over.
    **options
        Passed to `tqdm.tqdm` (`desc`, `total`, `unit`).
    """
    return tqdm(iterable, **{"disable": None, "leave": False, "dynamic_ncols": True} | options)
