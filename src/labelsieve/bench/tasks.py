"""What a benchmark hands to its worker processes, and how a result is published."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..core.serialization import write_json
from ..core.version import __version__
from .cells import FORMAT, Cell
from .sources import Places


@dataclass(frozen=True)
class Task:
    """A piece of work.

    Attributes
    ----------
    kind : {"noise", "features", "cell"}
    key : str
        Unique name.
    cell : Cell
        The cell, or one that stands for all with the same noise and model.
    after : tuple of str
        Names of tasks that must have ended.
    """

    kind: str
    key: str
    cell: Cell
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Settings:
    """How tasks run on this machine; of this, figures of merit depend on the precision alone."""

    places: Places
    threads: int = 1
    device: str = "auto"
    dtype: str = "auto"
    environment: dict[str, str] = field(default_factory=dict)


def publish(cell: Cell, record: dict[str, Any], partial: Path, settings: Settings) -> None:
    """Write record.json and give the folder its place, replacing an earlier one."""
    about = {"format": FORMAT, "labelsieve": __version__, "key": cell.key, **cell.names()}
    about |= {"device": settings.device, "dtype": settings.dtype, "threads": settings.threads}
    write_json(partial / "record.json", about | {"noise_key": cell.noise_key} | record)
    target = partial.parent / cell.key
    shutil.rmtree(target, ignore_errors=True)
    partial.rename(target)


def describe(error: BaseException) -> str:
    """The kind of an error and its message on one line."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}".rstrip(": ")
