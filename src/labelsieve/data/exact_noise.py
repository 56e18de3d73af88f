"""Noise with an exact count: a fixed number of rows gets a wrong label."""

from __future__ import annotations

import numpy as np

from ..core.validation import IntArray
from .noise_kind import NoiseDraw, NoiseKind


def draw_symmetric(
    labels: IntArray, n_classes: int, generator: np.random.Generator, *, rate: float
) -> NoiseDraw:
    """Give ``round(rate * n)`` of the n labels, whatever their class, another class.

    The other K - 1 classes are equally likely, so that the realised rate is the nominal one;
    drawing from all K classes, as some code bases do, loses 1/K of it.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
    n_classes : int
    generator : numpy.random.Generator
    rate : float
    """
    rows = _draw_rows(labels, rate, generator)
    noisy = labels.copy()
    noisy[rows] = (noisy[rows] + generator.integers(1, n_classes, size=len(rows))) % n_classes
    wrong = (1 - np.eye(n_classes)) / (n_classes - 1)
    return NoiseDraw(noisy, (1 - rate) * np.eye(n_classes) + rate * wrong)


def draw_pair_flip(
    labels: IntArray, n_classes: int, generator: np.random.Generator, *, rate: float
) -> NoiseDraw:
    """Give ``round(rate * n)`` of the n labels, whatever their class, the next class.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
    n_classes : int
    generator : numpy.random.Generator
    rate : float
    """
    rows = _draw_rows(labels, rate, generator)
    noisy = labels.copy()
    noisy[rows] = (noisy[rows] + 1) % n_classes
    wrong = np.roll(np.eye(n_classes), 1, axis=1)
    return NoiseDraw(noisy, (1 - rate) * np.eye(n_classes) + rate * wrong)


def _draw_rows(labels: IntArray, rate: float, generator: np.random.Generator) -> IntArray:
    """The rows to make wrong, drawn without replacement from those with a label."""
    labeled = np.flatnonzero(labels >= 0)
    return generator.permutation(labeled)[: round(rate * len(labeled))]


symmetric = NoiseKind(draw_symmetric)
"""Every other class is equally likely."""

pair_flip = NoiseKind(draw_pair_flip)
"""Class k becomes class k + 1 mod K."""
