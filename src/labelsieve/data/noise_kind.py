"""What a kind of label noise is: which arguments it needs, and what it hands back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..core.validation import IntArray


@dataclass(frozen=True, eq=False)
class NoiseDraw:
    """One draw of noise.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
        The noisy labels; -1 stays -1.
    transition : ndarray, shape (K, K)
        Expected P(noisy label = column | label before = row).
    notes : tuple of str
        Warnings for the person.
    """

    labels: IntArray
    transition: npt.NDArray[np.float64]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class NoiseKind:
    """How one kind of noise corrupts labels.

    Parameters
    ----------
    draw : callable
        (labels of shape (N,) with -1 where missing, number of classes, generator, and by keyword
        what `needs` and `options` name) -> `NoiseDraw`. It leaves the labels it is given alone.
    needs : tuple of str
        Arguments of `inject_noise` that must be given.
    options : tuple of str
        Arguments of `inject_noise` that may be given.
    """

    draw: Callable[..., NoiseDraw]
    needs: tuple[str, ...] = ("rate",)
    options: tuple[str, ...] = ()
