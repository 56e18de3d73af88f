"""Few-shot draws, stratified splits and batches, all from a seed."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.exceptions import InputError
from ..core.validation import IntArray, check_number


def few_shot(labels: Any, shots: int, random_state: Any) -> IntArray:
    """Draw rows for a few-shot set: per class `shots` rows, or all when it has fewer.

    Parameters
    ----------
    labels : array of int, shape (N,)
        Class indices; rows with -1 are never drawn.
    shots : int
        At least 1.
    random_state : int or numpy.random.Generator

    Returns
    -------
    ndarray of int64
        Row indices, ascending, without repeats.

    Raises
    ------
    InputError
        If labels are no integers or `shots` is below 1.

    Examples
    --------
    >>> few_shot([0, 0, 1, -1], shots=2, random_state=0).tolist()
    [0, 1, 2]
    """
    check_number(shots, name="shots", low=1, integer=True)
    array = _check(labels)
    rows = _by_class(array, random_state)
    groups = array[rows]
    starts = np.flatnonzero(np.r_[True, groups[1:] != groups[:-1]]) if len(rows) else rows
    sizes = np.diff(np.r_[starts, len(rows)])
    rank = np.arange(len(rows)) - np.repeat(starts, sizes)
    return np.sort(rows[(rank < shots) & (groups >= 0)])


def stratified_split(labels: Any, fraction: float, random_state: Any) -> tuple[IntArray, IntArray]:
    """Split rows in two parts with the same class mix.

    The first part holds ``round(fraction * N)`` rows in total and of a class with n rows
    ``fraction * n``, rounded up or down. Rows without a label (-1) are a class of their own.

    Parameters
    ----------
    labels : array of int, shape (N,)
    fraction : float
        Share of the first part, in 0..1.
    random_state : int or numpy.random.Generator

    Returns
    -------
    first, second : ndarray of int64
        Row indices, ascending; together every row exactly once.

    Raises
    ------
    InputError
        If labels are no integers or `fraction` is out of range.

    Examples
    --------
    >>> first, second = stratified_split([0, 0, 1, 1], 0.5, random_state=0)
    >>> len(first), len(second)
    (2, 2)
    """
    check_number(fraction, name="fraction", low=0, high=1)
    array = _check(labels)
    rows = _by_class(array, random_state)
    steps = np.floor(np.arange(len(rows) + 1) * fraction + 0.5)  # every 1/fraction-th row
    first = np.diff(steps) > 0
    return np.sort(rows[first]), np.sort(rows[~first])


def batches(n: int, batch_size: int, generator: Any) -> list[IntArray]:
    """Shuffle ``range(n)`` into batches; every row occurs once, the last batch may be smaller.

    Parameters
    ----------
    n : int
        Number of rows.
    batch_size : int
        At least 1.
    generator : numpy.random.Generator or int
        Pass one generator on through the epochs, so that each has its own order.

    Raises
    ------
    InputError
        If a number is out of range.

    Examples
    --------
    >>> [len(batch) for batch in batches(5, 2, np.random.default_rng(0))]
    [2, 2, 1]
    """
    from ..core.random import numpy_generator  # imports torch

    check_number(n, name="n", low=0, integer=True)
    check_number(batch_size, name="batch_size", low=1, integer=True)
    order = numpy_generator(generator).permutation(n)
    return [order[start : start + batch_size] for start in range(0, n, batch_size)]


def _check(labels: Any) -> IntArray:
    array = np.asarray(labels)
    if array.ndim != 1 or array.dtype.kind not in "iu":
        raise InputError(
            f"labels must be integers of shape (N,), not {array.dtype} of shape {array.shape}"
        )
    return array.astype(np.int64)


def _by_class(labels: IntArray, random_state: Any) -> IntArray:
    """All rows grouped by class, in random order within a class and of the classes."""
    from ..core.random import numpy_generator  # imports torch

    # A stream of its own: label noise starts with a permutation too, and with the same seed the
    # few shots would be the very rows that it made wrong.
    generator = numpy_generator(random_state).spawn(1)[0]
    shuffled = generator.permutation(len(labels))
    classes, codes = np.unique(labels[shuffled], return_inverse=True)
    place = generator.permutation(len(classes))
    return shuffled[np.argsort(place[codes], kind="stable")].astype(np.int64)
