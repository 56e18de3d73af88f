"""Fitted attributes that are those of one fit, never a mixture of two."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def as_before_on_failure(estimator: Any) -> Iterator[None]:
    """Give an estimator the attributes that it had, if the block fails or is interrupted.

    Examples
    --------
    >>> from types import SimpleNamespace
    >>> fitted = SimpleNamespace(classes_=("cat", "dog"))
    >>> try:
    ...     with as_before_on_failure(fitted):
    ...         fitted.classes_ = ("car", "bus")
    ...         raise ValueError
    ... except ValueError:
    ...     fitted.classes_
    ('cat', 'dog')
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
