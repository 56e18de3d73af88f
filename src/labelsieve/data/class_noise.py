"""Class-dependent noise: each label is drawn from its class's row of a noise matrix."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.validation import IntArray
from .noise_kind import NoiseDraw, NoiseKind
from .noise_matrix import check_noise_matrix


def draw_class_dependent(
    labels: IntArray, n_classes: int, generator: np.random.Generator, *, matrix: Any
) -> NoiseDraw:
    """Draw each noisy label from P(noisy | label before).

    One uniform number a row, drawn in row order, decides: a row's label depends on the seed, its
    position and its class, and not on the other labels.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
    n_classes : int
    generator : numpy.random.Generator
    matrix : array, shape (K, K)
        See `check_noise_matrix`.

    Raises
    ------
    InputError
        If `matrix` is no noise matrix of K classes.
    """
    transition = check_noise_matrix(matrix, n_classes)
    uniform = generator.random(len(labels))
    cumulative = np.cumsum(transition, axis=1)
    cumulative /= cumulative[:, -1:]  # a draw just below 1 must not fall behind the last class
    noisy = labels.copy()
    for label in range(n_classes):
        rows = np.flatnonzero(labels == label)
        noisy[rows] = np.searchsorted(cumulative[label], uniform[rows], side="right")
    return NoiseDraw(noisy, transition)


class_dependent = NoiseKind(draw_class_dependent, needs=("matrix",))
"""The user's matrix decides, rates included."""
