"""A rehearsal on the user's own data: flip labels, judge again, count what is found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.exceptions import InputError
from ..core.random import numpy_generator
from ..core.validation import BoolArray, FloatArray, IntArray, check_number
from ..data import LabeledImages
from ..detectors import AbstractDetector
from .estimates import CONFIDENCE, Z, estimate_errors


@dataclass(frozen=True)
class Flips:
    """Labels with some of them flipped.

    Attributes
    ----------
    labels : ndarray of int64, shape (N,)
        -1 stays -1.
    flipped : ndarray of bool, shape (N,)
    """

    labels: IntArray
    flipped: BoolArray


def flip_labels(labels: IntArray, matrix: FloatArray, rate: float, random_state: int) -> Flips:
    """Flip exactly ``round(rate * n)`` of n labels, to the classes that they are mistaken for.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
        Given labels.
    matrix : ndarray, shape (K, K)
        Estimated P(given | true). The new label of class k is drawn in proportion to row k without
        its diagonal; evenly where there is nothing else.
    rate : float
        In 0..1, exclusive.
    random_state : int
        Decides rows and new labels.
    """
    # A stream of its own: noise injected with the same seed must not decide the flips, nor the
    # first spawned stream, which draws shots and subsets; these would be the flipped rows.
    generator = numpy_generator(random_state).spawn(2)[1]
    rows = np.flatnonzero(labels >= 0)
    chosen = np.sort(generator.permutation(rows)[: round(rate * len(rows))])
    away = matrix + 1e-6
    np.fill_diagonal(away, 0.0)
    cumulative = np.cumsum(away / away.sum(axis=1, keepdims=True), axis=1)
    draws = generator.random(len(chosen))
    new = (cumulative[labels[chosen]] < draws[:, None]).sum(axis=1)
    found, flipped = labels.copy(), np.zeros(len(labels), dtype=bool)
    found[chosen] = np.minimum(new, len(matrix) - 1)
    flipped[chosen] = True
    return Flips(found, flipped)


def self_check(
    detector: AbstractDetector,
    features: Any,
    images: LabeledImages,
    matrix: FloatArray,
    *,
    rate: float,
    random_state: int,
) -> dict[str, Any]:
    """Flip some given labels, judge them with a detector of the same kind, count.

    The flips are errors that are known to be there, whatever else is wrong. What is found among
    them is a recall that was measured, not estimated; for errors that people make, which look more
    like what they were mistaken for, it is an upper bound rather than a promise.

    Parameters
    ----------
    detector : AbstractDetector
        Not yet fitted.
    features : ImageFeatures or ndarray, shape (N, D)
        Of the images.
    images : LabeledImages
        With the given labels.
    matrix : ndarray, shape (K, K)
        The noise matrix that the scan has estimated; where its mistakes go, the flips go.
    rate : float
        Share of the labels of readable images to flip, above 0 and below 1.
    random_state : int
        Decides the flips.

    Returns
    -------
    dict
        ``rate``, ``n_flipped``, ``n_found`` (flagged), ``recall`` with its ``interval`` (Wilson)
        and ``confidence``, ``n_flagged``, ``estimated_noise_rate`` before any correction, and
        ``n_corrected`` (flips for which the old label was suggested).

    Raises
    ------
    InputError
        If the rate is out of range or flips nothing.
    """
    labels = images.given_labels.copy()
    labels[list(getattr(features, "errors", ()))] = -1  # nobody can find those
    check_flips(rate, int((labels >= 0).sum()))
    flips = flip_labels(labels, matrix, rate, random_state)
    n = int(flips.flipped.sum())
    detector.fit(features, images.with_labels(flips.labels))
    flagged = detector.is_label_issue_ & flips.flipped
    corrected = flagged & (detector.suggested_label_ == images.given_labels)
    found = int(flagged.sum())
    return {
        "rate": rate,
        "n_flipped": n,
        "n_found": found,
        "n_corrected": int(corrected.sum()),
        "recall": found / n,
        "interval": list(wilson_interval(found, n)),
        "confidence": CONFIDENCE,
        "n_flagged": int(detector.is_label_issue_.sum()),
        "estimated_noise_rate": float(estimate_errors(detector).wrong.mean()),
    }


def check_flips(rate: float, n_labels: int) -> None:
    """Raise `InputError` unless a rate flips some of the labels, and not all."""
    check_number(rate, name="self_check", low=0.0, high=1.0)
    n = round(rate * n_labels)
    if not 0 < n < n_labels:
        raise InputError(
            f"a self-check with rate {rate} flips {n} of {n_labels} labels; choose a rate that "
            "flips some of them and not all"
        )


def wilson_interval(found: int, n: int) -> tuple[float, float]:
    """The score interval of a share (Wilson, JASA 1927), 90 %.

    Examples
    --------
    >>> [round(x, 3) for x in wilson_interval(8, 10)]
    [0.541, 0.931]
    """
    share, z2 = found / n, Z * Z
    centre = (share + z2 / (2 * n)) / (1 + z2 / n)
    half = Z / (1 + z2 / n) * np.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))
