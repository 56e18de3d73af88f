"""Files and folders that are whole or absent; JSON and safetensors, never pickle."""

from __future__ import annotations

import csv
import json
import os
import shutil
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError

from .exceptions import InputError

if TYPE_CHECKING:
    import torch


@contextmanager
def atomic_path(path: Path | str) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it takes the place of `path` when the block succeeds.

    Examples
    --------
    >>> import tempfile
    >>> target = Path(tempfile.mkdtemp()) / "a.txt"
    >>> with atomic_path(target) as partial:
    ...     _ = partial.write_text("whole")
    >>> target.read_text()
    'whole'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.partial{path.suffix}")
    try:
        yield partial
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def atomic_folder(folder: Path | str, *, replace: bool = False) -> Iterator[Path]:
    """Yield a new folder beside `folder`; it takes the place of `folder` when the block succeeds.

    Parameters
    ----------
    folder : Path or str
        Absent or empty, unless it is to be replaced.
    replace : bool
        Whether a folder that holds files may go; it goes last, when the new one is whole.

    Raises
    ------
    OSError
        If the new folder cannot be written or take its place; what was there is left as it was.
    """
    folder = Path(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    mark = uuid.uuid4().hex[:8]
    partial = folder.with_name(f".labelsieve-{mark}.partial")
    old = folder.with_name(f".labelsieve-{mark}.old")
    partial.mkdir()
    try:
        yield partial
        if folder.exists():
            if not replace:
                folder.rmdir()  # fails when it is not empty, and nothing is lost
            else:
                folder.rename(old)
        try:
            partial.rename(folder)
        except OSError:
            if old.exists():
                old.rename(folder)
            raise
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text atomically."""
    with atomic_path(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path | str, value: Any) -> None:
    """Write a value as readable JSON, atomically; NaN is not JSON and raises `ValueError`."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False, default=_plain)
    write_text(path, text + "\n")


def _plain(value: Any) -> Any:
    """A number of numpy, such as a seed from `np.arange`, as one of Python."""
    import numpy as np

    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{type(value).__name__} cannot be written as JSON: {value!r}")


def read_json(path: Path | str) -> Any:
    """Read a JSON file.

    Raises
    ------
    InputError
        If the file is missing or is not JSON.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"cannot read {path} as JSON: {error}") from error


def has_header(path: Path | str, columns: Sequence[str]) -> bool:
    """Whether a file is a CSV table with just these columns."""
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file), []) == list(columns)
    except (OSError, UnicodeDecodeError, csv.Error):
        return False


def save_tensors(path: Path | str, tensors: dict[str, torch.Tensor]) -> None:
    """Write tensors to one safetensors file, atomically; shared ones under each of their names.

    Raises
    ------
    OSError
        If it cannot be written, such as on a full disk.
    """
    from safetensors.torch import save_file

    with atomic_path(path) as partial:
        try:
            save_file(_apart(tensors), partial)
        except SafetensorError as error:
            raise OSError(f"cannot write {path}: {error}") from error


def _apart(tensors: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Contiguous tensors on the CPU, no two in the same memory, which safetensors refuses."""
    found: dict[str, torch.Tensor] = {}
    memory: set[int] = set()
    for name, tensor in tensors.items():
        plain = tensor.detach().cpu().contiguous()
        place = plain.untyped_storage().data_ptr()
        found[name] = plain.clone() if place in memory else plain
        memory.add(place)
    return found


def load_tensors(path: Path | str) -> dict[str, torch.Tensor]:
    """Read all tensors of a safetensors file.

    Raises
    ------
    InputError
        If the file is missing or damaged.
    """
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise InputError(f"cannot read {path} as safetensors: {error}") from error
