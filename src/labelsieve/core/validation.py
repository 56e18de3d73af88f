"""Checks at the public edge, done once; inner functions trust their arguments."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt

from .arrays import chunks
from .exceptions import InputError, did_you_mean, gather

FloatArray = npt.NDArray[np.floating[Any]]
IntArray = npt.NDArray[np.integer[Any]]
BoolArray = npt.NDArray[np.bool_]


def check_features(features: Any, *, name: str = "features") -> FloatArray:
    """Return features as a finite float32 array of shape (N, D).

    Raises
    ------
    InputError
        If there is no row, the shape is not (N, D), or a value is no number, NaN or infinite.
    """
    if hasattr(features, "detach"):  # a tensor: on any device, in any precision
        features = features.detach().float().cpu()
    try:
        array = np.asarray(features, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{name} must be numbers of shape (N, D), not {type(features).__name__} ({error}); "
            "where images are meant, pass those that load_images returns"
        ) from error
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"{name} must have shape (N, D) with N, D >= 1, not {array.shape}")
    bad = np.concatenate([~np.isfinite(array[c]).all(axis=1) for c in chunks(*array.shape)])
    if bad.any():
        raise InputError(
            f"{name} has NaN or infinite values in {bad.sum()} of {len(array)} rows, "
            f"first in row {int(bad.argmax())}; remove or replace them"
        )
    return array


def check_labels(labels: Any, n_rows: int, n_classes: int, *, name: str = "labels") -> IntArray:
    """Return labels as an int64 array of shape (N,) with values in 0..K-1.

    Raises
    ------
    InputError
        If the number of rows, the type or the range is off; all problems in one message.
    """
    array = np.asarray(labels)
    problems = []
    if array.shape != (n_rows,):
        problems.append(f"expected shape ({n_rows},), one label a row, but got {array.shape}")
    if array.dtype.kind not in "iu":
        problems.append(f"expected integer class indices, but got dtype {array.dtype}")
    elif array.size and (array.min() < 0 or array.max() >= n_classes):
        problems.append(
            f"expected indices 0..{n_classes - 1}, but got {array.min()}..{array.max()}"
        )
    gather(problems, what=name)
    return array.astype(np.int64)


def check_class_names(class_names: Any) -> tuple[str, ...]:
    """Return class names as a tuple of at least two distinct, non-empty strings.

    Raises
    ------
    InputError
        If they are no list, there are fewer than two names, or an empty or repeated one.
    """
    if isinstance(class_names, str) or not isinstance(class_names, Iterable):
        raise InputError(f"class names must be a list of names, not {class_names!r}")
    names = tuple(str(name) for name in class_names)
    problems = []
    if len(names) < 2:
        problems.append(f"at least two classes are needed, but got {len(names)}: {list(names)}")
    if any(not name.strip() for name in names):
        problems.append("a class name is empty")
    repeated = sorted({name for name in names if names.count(name) > 1})[:5]
    if repeated:
        problems.append(f"these class names occur more than once: {repeated}")
    gather(problems, what="class names")
    return names


def check_choice(value: Any, allowed: Any, *, name: str) -> None:
    """Raise `InputError` unless `value` is one of `allowed`."""
    if value not in allowed:
        raise InputError(
            f"{name}={value!r} is not known; choose one of {', '.join(allowed)}."
            + did_you_mean(value, allowed)
        )


def is_number(value: Any, *, low: float, high: float = float("inf"), integer: bool = False) -> bool:
    """Whether `value` is a finite number in low..high (an integer if asked); bools are none."""
    kinds = (int, np.integer) if integer else (int, float, np.integer, np.floating)
    fits = isinstance(value, kinds) and not isinstance(value, bool)
    return bool(fits and np.isfinite(value) and low <= value <= high)


def check_number(
    value: Any, *, name: str, low: float, high: float = float("inf"), integer: bool = False
) -> None:
    """Raise `InputError` unless `value` is a finite number in low..high (an integer if asked)."""
    if not is_number(value, low=low, high=high, integer=integer):
        kind = "an integer" if integer else "a number"
        raise InputError(f"{name} must be {kind} in {low:g}..{high:g}, not {value!r}")
