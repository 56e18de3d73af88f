"""Label noise for benchmarks: given labels with an exact number of them made wrong."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.registry import Registry
from ..core.validation import IntArray, check_number
from .labels import check_given_labels

NOISE = Registry(
    "noise kind",
    {
        "symmetric": "labelsieve.data.noise:symmetric",
        "pair-flip": "labelsieve.data.noise:pair_flip",
    },
)
"""Noise kinds by name; each entry is a `NoiseKind`."""


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Labels after noise.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
        The noisy labels; -1 stays -1.
    kind, rate
        As asked for.
    realised_rate : float
        Share of the labelled rows whose label was changed.
    transition : ndarray, shape (K, K)
        Expected P(noisy label = column | label = row).
    """

    labels: IntArray
    kind: str
    rate: float
    realised_rate: float
    transition: npt.NDArray[np.float64]


@dataclass(frozen=True)
class NoiseKind:
    """How one kind of noise corrupts labels.

    Parameters
    ----------
    flip : callable
        (labels of shape (M,), number of classes, generator) -> wrong labels of shape (M,).
    confusion : callable
        Number of classes -> (K, K) probabilities of the wrong label, zero on the diagonal.
    """

    flip: Any
    confusion: Any


def inject_noise(
    labels: Any, n_classes: int, *, kind: str, rate: float, random_state: Any
) -> NoisyLabels:
    """Make an exact share of the labels wrong.

    Of the n rows with a label, ``int(round(rate * n))`` are drawn without replacement, whatever
    their class, and each of them gets a wrong label: "symmetric" draws one of the other K - 1
    classes uniformly, so that the realised rate is the nominal one (drawing from all K classes,
    as some code bases do, loses 1/K of it); "pair-flip" takes the next class, k -> k + 1 mod K.

    Parameters
    ----------
    labels : array of int, shape (N,)
        Class indices; -1 (missing) stays.
    n_classes : int
        K, at least 2.
    kind : {"symmetric", "pair-flip"}
    rate : float
        In 0..1; 0 changes nothing.
    random_state : int or numpy.random.Generator

    Raises
    ------
    InputError
        If the kind is unknown, or a number or label is out of range.

    Examples
    --------
    >>> noisy = inject_noise([0, 1, 2, -1], 3, kind="pair-flip", rate=1.0, random_state=0)
    >>> noisy.labels.tolist(), noisy.realised_rate
    ([1, 2, 0, -1], 1.0)
    """
    from ..core.random import numpy_generator  # imports torch

    spec: NoiseKind = NOISE.get(kind)
    check_number(n_classes, name="n_classes", low=2, integer=True)
    check_number(rate, name="rate", low=0, high=1)
    generator = numpy_generator(random_state)
    noisy = check_given_labels(labels, n_classes)
    labeled = np.flatnonzero(noisy >= 0)
    rows = generator.permutation(labeled)[: round(rate * len(labeled))]
    noisy[rows] = spec.flip(noisy[rows], n_classes, generator)
    return NoisyLabels(
        labels=noisy,
        kind=kind,
        rate=float(rate),
        realised_rate=len(rows) / len(labeled) if len(labeled) else 0.0,
        transition=(1 - rate) * np.eye(n_classes) + rate * spec.confusion(n_classes),
    )


def _other_class(labels: IntArray, n_classes: int, generator: np.random.Generator) -> IntArray:
    return (labels + generator.integers(1, n_classes, size=len(labels))) % n_classes


def _next_class(labels: IntArray, n_classes: int, generator: np.random.Generator) -> IntArray:
    del generator  # nothing is random about the new label
    return (labels + 1) % n_classes


symmetric = NoiseKind(
    flip=_other_class,
    confusion=lambda n_classes: (1 - np.eye(n_classes)) / (n_classes - 1),
)
"""Every other class is equally likely."""

pair_flip = NoiseKind(
    flip=_next_class,
    confusion=lambda n_classes: np.roll(np.eye(n_classes), 1, axis=1),
)
"""Class k becomes class k + 1 mod K."""
