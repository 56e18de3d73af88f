"""Label noise for benchmarks: given labels made wrong, by kinds that each have a name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..core.exceptions import gather
from ..core.registry import Registry
from ..core.validation import IntArray, check_number
from .labels import check_given_labels
from .noise_kind import NoiseDraw, NoiseKind

NOISE = Registry(
    "noise kind",
    {
        "symmetric": "labelsieve.data.exact_noise:symmetric",
        "pair-flip": "labelsieve.data.exact_noise:pair_flip",
        "class-dependent": "labelsieve.data.class_noise:class_dependent",
        "instance-dependent": "labelsieve.data.instance_noise:instance_dependent",
    },
)
"""Noise kinds by name; each entry is a `NoiseKind`."""

_MISSING = {
    "rate": "give the share of labels to make wrong, in 0..1",
    "matrix": "give P(noisy label | label before), shape (K, K), on the command line --matrix FILE",
    "images": "give the LabeledImages of the labels, since their pixels decide",
}
_EXTRA = {
    "rate": "the matrix decides how many labels become wrong",
    "matrix": "only class-dependent noise takes one",
    "normalize": "only instance-dependent noise looks at pixels",
}


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """Labels after noise.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
        The noisy labels; -1 stays -1.
    kind : str
        As asked for.
    rate : float or None
        As asked for; None where a matrix takes its place.
    expected_rate : float
        Expected share of the labelled rows whose label changes, given the labels before. For
        instance-dependent noise it is the mean noise rate of the images.
    realised_rate : float
        Share of the labelled rows whose label was changed.
    transition : ndarray, shape (K, K)
        Expected P(noisy label = column | label before = row). For instance-dependent noise it is
        the mean over the images of each class.
    realised_transition : ndarray, shape (K, K)
        The shares that came out; a class without rows has 1 on the diagonal.
    notes : tuple of str
        Warnings for the person.
    """

    labels: IntArray
    kind: str
    rate: float | None
    expected_rate: float
    realised_rate: float
    transition: npt.NDArray[np.float64]
    realised_transition: npt.NDArray[np.float64]
    notes: tuple[str, ...] = ()


def inject_noise(
    labels: Any,
    n_classes: int,
    *,
    kind: str,
    rate: float | None = None,
    matrix: Any = None,
    images: Any = None,
    normalize: bool = False,
    random_state: Any,
) -> NoisyLabels:
    """Make labels wrong at random.

    - "symmetric": exactly ``round(rate * n)`` of the n labels become one of the other classes.
    - "pair-flip": exactly as many become the next class, k -> k + 1 mod K.
    - "class-dependent": each label is drawn from its row of `matrix`.
    - "instance-dependent": each label is drawn from a distribution that depends on the pixels of
      its image; the images' noise rates have a mean of about `rate`.

    Parameters
    ----------
    labels : array of int, shape (N,)
        Class indices; -1 (missing) stays.
    n_classes : int
        K, at least 2.
    kind : {"symmetric", "pair-flip", "class-dependent", "instance-dependent"}
    rate : float, optional
        In 0..1; 0 changes nothing. All kinds but "class-dependent" need it; that one does not
        take it.
    matrix : array, shape (K, K), optional
        P(noisy label = column | label before = row), for "class-dependent".
    images : LabeledImages, optional
        The N images, for "instance-dependent"; other kinds do not look at them.
    normalize : bool
        For "instance-dependent": standardise the pixels of each image.
    random_state : int or numpy.random.Generator

    Raises
    ------
    InputError
        If the kind is unknown, an argument is missing or does not go with the kind, or a number,
        label or matrix is out of range.

    Examples
    --------
    >>> noisy = inject_noise([0, 1, 2, -1], 3, kind="pair-flip", rate=1.0, random_state=0)
    >>> noisy.labels.tolist(), noisy.realised_rate
    ([1, 2, 0, -1], 1.0)
    >>> matrix = [[0.5, 0.5], [0, 1]]
    >>> inject_noise([0, 1], 2, kind="class-dependent", matrix=matrix, random_state=0).expected_rate
    0.25
    """
    from ..core.random import numpy_generator  # imports torch

    spec: NoiseKind = NOISE.get(kind)
    given = {"rate": rate, "matrix": matrix, "images": images, "normalize": normalize or None}
    _check_arguments(kind, spec, given)
    check_number(n_classes, name="n_classes", low=2, integer=True)
    if rate is not None:
        check_number(rate, name="rate", low=0, high=1)
    before = check_given_labels(labels, n_classes)
    taken = {name: given[name] for name in spec.needs + spec.options if given[name] is not None}
    draw: NoiseDraw = spec.draw(before, n_classes, numpy_generator(random_state), **taken)
    counts = _count(before, draw.labels, n_classes)
    return NoisyLabels(
        labels=draw.labels,
        kind=kind,
        rate=None if rate is None else float(rate),
        expected_rate=_mean_rate(counts.sum(axis=1), draw.transition),
        realised_rate=_share_off_diagonal(counts),
        transition=draw.transition,
        realised_transition=_row_shares(counts),
        notes=draw.notes,
    )


def _check_arguments(kind: str, spec: NoiseKind, given: dict[str, Any]) -> None:
    """Everything the kind needs is there, and nothing it would silently ignore."""
    problems = [f"no {name}; {_MISSING[name]}" for name in spec.needs if given[name] is None]
    for name, remark in _EXTRA.items():
        if name not in spec.needs + spec.options and given[name] is not None:
            problems.append(f"{name} does not go with it, leave it out: {remark}")
    gather(problems, what=f"{kind} noise")


def _count(before: IntArray, after: IntArray, n_classes: int) -> npt.NDArray[np.int64]:
    """How many labelled rows went from class to class, shape (K, K)."""
    labeled = before >= 0
    pairs = before[labeled] * n_classes + after[labeled]
    return np.bincount(pairs, minlength=n_classes**2).reshape(n_classes, n_classes)


def _mean_rate(sizes: npt.NDArray[np.int64], transition: npt.NDArray[np.float64]) -> float:
    """Mean probability of a wrong label over the labelled rows."""
    wrong = (1 - np.eye(len(sizes))) * transition
    rate = float(sizes @ wrong.sum(axis=1)) / max(1, int(sizes.sum()))
    return round(rate, 12)  # so that 0.3 reads 0.3, and not 0.30000000000000004


def _share_off_diagonal(counts: npt.NDArray[np.int64]) -> float:
    total = int(counts.sum())
    return (total - int(np.trace(counts))) / total if total else 0.0


def _row_shares(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    sizes = counts.sum(axis=1, keepdims=True)
    return np.where(sizes > 0, counts / np.maximum(sizes, 1), np.eye(len(counts)))
