"""A stratified, seeded subset of rows, for fits that do not need all of them."""

from __future__ import annotations

import numpy as np

from ..core.random import numpy_generator
from ..core.validation import IntArray

LEAST = 20
"""Rows of a class that are drawn even where its share is smaller, if it has them."""


def quotas(counts: IntArray, n: int) -> IntArray:
    """Rows to draw of each class (K,): in proportion, at least 20 or all of a small class."""
    share = np.ceil(counts * min(1.0, n / max(counts.sum(), 1))).astype(np.int64)
    return np.minimum(np.maximum(share, LEAST), counts)


def stratified_subset(labels: IntArray, n: int, random_state: int) -> IntArray:
    """About `n` rows, ascending, each class in proportion to its size; see `quotas`.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
        Class indices.
    n : int
        Rows wanted; small classes may add some.
    random_state : int
        Decides which.

    Examples
    --------
    >>> len(stratified_subset(np.arange(1000) % 10, 300, 0))
    300
    """
    counts = np.bincount(labels)
    # A stream of its own: label noise starts with a permutation too, and with the same seed the
    # subset would be the very rows that it made wrong.
    order = numpy_generator(random_state).spawn(1)[0].permutation(len(labels))
    order = order[np.argsort(labels[order], kind="stable")]
    rank = np.arange(len(labels)) - np.repeat(np.cumsum(counts) - counts, counts)
    return np.sort(order[rank < quotas(counts, n)[labels[order]]])
