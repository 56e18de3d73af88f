"""Rows to train on, with noisy labels, and apart from them which labels are wrong."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.exceptions import InputError
from ..core.random import numpy_generator
from ..core.validation import BoolArray, IntArray
from ..data import LabeledImages, inject_noise
from ..data.splits import few_shot


@dataclass(frozen=True, eq=False)
class NoisyRows:
    """A draw of training rows.

    Attributes
    ----------
    rows : ndarray of int64, shape (n,)
        Positions of the rows.
    given : ndarray of int64, shape (n,)
        Their labels, partly wrong: what a tuner sees.
    is_wrong : ndarray of bool, shape (n,)
        Which of them are wrong: for comparing afterwards, never for a tuner.
    """

    rows: IntArray
    given: IntArray
    is_wrong: BoolArray


def draw_noisy(
    images: LabeledImages, *, shots: int | None, kind: str, rate: float, seed: int
) -> NoisyRows:
    """Draw shots by labels that are taken for true, then make exactly a share of them wrong.

    Parameters
    ----------
    images : LabeledImages
        N images, whose labels are taken for true.
    shots : int or None
        Rows a class; None takes all.
    kind, rate
        See `inject_noise`.
    seed : int
        Decides the rows and the noise.
    """
    generator = numpy_generator(seed)
    labels = images.given_labels
    rows = few_shot(labels, len(labels) if shots is None else shots, generator)
    noisy = inject_noise(
        labels[rows],
        len(images.class_names),
        kind=kind,
        rate=rate,
        images=images.subset(rows),
        random_state=generator,
    )
    return NoisyRows(rows, noisy.labels, noisy.labels != labels[rows])


def draw_given(labels: IntArray, truth: IntArray, *, shots: int | None, seed: int) -> NoisyRows:
    """Draw shots by given labels whose truth is known.

    Parameters
    ----------
    labels, truth : ndarray of int64, shape (N,)
        Given and true labels, in the same class order; a row whose truth is -1 is never drawn.
    shots : int or None
        Rows a class; None takes all.
    seed : int
        Decides the rows.
    """
    usable = labels.copy()
    usable[truth < 0] = -1
    rows = few_shot(usable, len(labels) if shots is None else shots, numpy_generator(seed))
    return NoisyRows(rows, labels[rows], labels[rows] != truth[rows])


def labels_in_order(images: LabeledImages, class_names: tuple[str, ...]) -> IntArray:
    """Labels of `images` as indices into another class order; -1 stays -1.

    Raises
    ------
    InputError
        If a label is none of `class_names`.
    """
    position = {name: k for k, name in enumerate(class_names)}
    used = {int(k) for k in images.given_labels if k >= 0}
    unknown = sorted(images.class_names[k] for k in used if images.class_names[k] not in position)
    if unknown:
        raise InputError(
            f"{len(unknown)} classes are not among those of the given labels: {unknown[:5]}; "
            f"known are {list(class_names)[:10]}"
        )
    order = np.array([position.get(name, -1) for name in images.class_names] + [-1])
    return order[images.given_labels]  # -1 takes the last one
