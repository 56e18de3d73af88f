"""Instance-dependent noise: the pixels of an image decide which wrong label it tends to get.

The algorithm is the instance-dependent generator of Xia et al., "Part-dependent Label Noise"
(NeurIPS 2020), streamed: images are decoded in chunks, and the weights of only as many classes
as fit a budget are in memory at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr, ndtri, softmax

from ..core.exceptions import InputError
from ..core.validation import IntArray
from .images import LabeledImages
from .noise_kind import NoiseDraw, NoiseKind
from .pixels import common_size, pixel_chunks

RATE_SD = 0.1
"""Standard deviation of the images' noise rates, before they are truncated to 0..1."""

WEIGHT_BYTES = 128 * 2**20
"""Memory for the weights of classes; those of one class are always kept."""

Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Settings:
    """What the weights and the pixels of a draw depend on."""

    seed: int
    n_classes: int
    size: tuple[int, int]
    normalize: bool

    @property
    def shape(self) -> tuple[int, int]:
        """(D, K), the shape of a class's weights."""
        return 3 * self.size[0] * self.size[1], self.n_classes


def draw_instance_dependent(
    labels: IntArray,
    n_classes: int,
    generator: np.random.Generator,
    *,
    rate: float,
    images: LabeledImages,
    normalize: bool = False,
) -> NoiseDraw:
    """Draw each noisy label from a distribution that depends on the image's pixels.

    Row i with label y and pixels x_i gets ``P_i = rho_i * softmax(x_i W_y)``, the softmax without
    class y, and ``P_i[y] = 1 - rho_i``; for rho_i see `draw_rows`, for W_y `class_weights`. The
    randomness comes from one seed, drawn from `generator`, and the number of the row or class,
    so that neither chunks nor the labels of other rows matter.

    Pixels are values 0..255, or, with `normalize`, each image standardised. Images of another
    size than `common_size` of the labelled rows are resized. Rows whose image cannot be read
    keep their label.

    Parameters
    ----------
    labels : ndarray of int64, shape (N,)
    n_classes : int
    generator : numpy.random.Generator
    rate : float
        Mean of the images' noise rates before truncation.
    images : LabeledImages
        N images; their own labels are not looked at.
    normalize : bool
        See `scale_pixels`.

    Returns
    -------
    NoiseDraw
        Its `transition` is the mean of P_i over the rows of each class.

    Raises
    ------
    InputError
        If the rows of `images` and `labels` differ in number, or no image can be read.
    """
    if len(images) != len(labels):
        raise InputError(f"images: got {len(images)} of them for {len(labels)} labels; one each")
    seed = int(generator.integers(2**63))
    labeled = np.flatnonzero(labels >= 0)
    size = common_size(images, labeled)
    if size is None and len(labeled):
        raise InputError(
            f"instance-dependent noise looks at pixels, but none of the {len(labeled):,} labelled "
            "images can be read; check the paths, or choose another kind"
        )
    settings = _Settings(seed, n_classes, size or (1, 1), normalize)
    rates, uniform = draw_rows(seed, len(labels), rate)
    noisy, totals = labels.copy(), np.zeros((n_classes, n_classes))
    unread = labels >= 0
    for classes in _class_groups(labels[labeled], settings.shape):
        rows = labeled[np.isin(labels[labeled], classes)]
        for mine, p in _distributions(images, labels, rows, rates, settings):
            noisy[mine] = pick(p, uniform[mine])
            totals[labels[mine[0]]] += p.sum(axis=0)
            unread[mine] = False
    np.add.at(totals, (labels[unread], labels[unread]), 1)
    return NoiseDraw(noisy, _class_means(totals), _notes(int(unread.sum())))


def draw_rows(seed: int, n_rows: int, rate: float) -> tuple[Array, Array]:
    """What is random about each row: its noise rate, and the number that picks its label.

    Parameters
    ----------
    seed : int
    n_rows : int
        N. Row i draws the same with a larger N.
    rate : float
        Mean of a normal distribution with standard deviation `RATE_SD`, truncated to 0..1, from
        which the noise rates are drawn. Where the truncation is felt, their mean is another one:
        0.1288 for 0.1, 0.2055 for 0.2. 0 makes all of them 0.

    Returns
    -------
    rates, uniform : ndarray, shape (N,)
    """
    draws = np.random.default_rng(np.random.SeedSequence(seed)).random((n_rows, 2))
    if rate == 0:
        return np.zeros(n_rows), draws[:, 1]
    low, high = ndtr(-rate / RATE_SD), ndtr((1 - rate) / RATE_SD)
    rates = rate + RATE_SD * ndtri(low + draws[:, 0] * (high - low))
    return np.clip(rates, 0, 1), draws[:, 1]


def class_weights(seed: int, label: int, shape: tuple[int, int]) -> Array:
    """Standard normal weights W_y of the class `label`, of shape (D, K)."""
    sequence = np.random.SeedSequence(seed, spawn_key=(label,))
    return np.random.default_rng(sequence).standard_normal(shape)


def scale_pixels(pixels: Any, normalize: bool) -> Array:
    """Pixels 0..255, shape (B, D), as float64.

    With `normalize` each row is standardised to mean 0 and standard deviation 1. Without it all
    values are positive, and as they share that direction, most images of a class get the same
    wrong label.
    """
    x = np.asarray(pixels, dtype=np.float64)
    if not normalize:
        return x
    x = x - x.mean(axis=1, keepdims=True)
    spread = x.std(axis=1, keepdims=True)
    return x / np.where(spread > 0, spread, 1)


def flip_probabilities(x: Array, weights: Array, rates: Array, label: int) -> Array:
    """Distributions of the noisy labels of images of one class.

    Parameters
    ----------
    x : ndarray, shape (B, D)
        Pixels.
    weights : ndarray, shape (D, K)
        W_y.
    rates : ndarray, shape (B,)
        Noise rates rho.
    label : int
        y.

    Returns
    -------
    ndarray, shape (B, K)
        Each row sums to 1; column y is ``1 - rates``.
    """
    scores = x @ weights
    scores[:, label] = -np.inf
    p = rates[:, None] * softmax(scores, axis=1)
    p[:, label] = 1 - rates
    return p


def pick(p: Array, uniform: Array) -> IntArray:
    """Draw one class a row: the first whose cumulative probability exceeds the uniform number.

    Parameters
    ----------
    p : ndarray, shape (B, K)
    uniform : ndarray, shape (B,)
        In 0..1, without 1.
    """
    cumulative = np.cumsum(p, axis=1)
    cumulative /= cumulative[:, -1:]  # a draw just below 1 must not fall behind the last class
    return (cumulative <= uniform[:, None]).sum(axis=1)


def _class_groups(labels: IntArray, shape: tuple[int, int]) -> list[IntArray]:
    """Classes that occur, as many together as `WEIGHT_BYTES` allows.

    One group is one pass over its rows in their order, in which sources of images are quickest.
    """
    size = max(1, WEIGHT_BYTES // (8 * shape[0] * shape[1]))
    present = np.unique(labels)
    return [present[start : start + size] for start in range(0, len(present), size)]


def _distributions(
    images: LabeledImages, labels: IntArray, rows: IntArray, rates: Array, settings: _Settings
) -> Iterator[tuple[IntArray, Array]]:
    """Rows of one class, shape (B,), and their distributions, shape (B, K)."""
    weights = {
        label: class_weights(settings.seed, label, settings.shape)
        for label in np.unique(labels[rows]).tolist()
    }
    for chunk, pixels in pixel_chunks(images, rows, settings.size):
        for label in np.unique(labels[chunk]).tolist():
            mine = labels[chunk] == label
            x = scale_pixels(pixels[mine], settings.normalize)
            yield chunk[mine], flip_probabilities(x, weights[label], rates[chunk[mine]], label)


def _class_means(totals: Array) -> Array:
    """Sums of distributions, shape (K, K), as means; a class without rows changes nothing."""
    counts = totals.sum(axis=1, keepdims=True)
    return np.where(counts > 0, totals / np.where(counts > 0, counts, 1), np.eye(len(totals)))


def _notes(n_unread: int) -> tuple[str, ...]:
    if not n_unread:
        return ()
    return (f"{n_unread:,} labelled images could not be read and keep their label",)


instance_dependent = NoiseKind(
    draw_instance_dependent, needs=("rate", "images"), options=("normalize",)
)
"""Images of a class differ in how likely they are to be wrong, and in which label they get."""
