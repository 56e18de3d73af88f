"""Maps of image features that are fitted to some rows and can be applied to others."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..core.validation import FloatArray

SHRINKAGE = 0.1  # of small variances when whitening, as a share of their mean
LEAST = 1e-12  # length and spread that equal images still have
MOST_FOURIER = 256  # random Fourier features, one per 40 samples at most


@dataclass(frozen=True)
class Whitening:
    """Centring and about equal variance in every direction.

    Attributes
    ----------
    mean : ndarray, shape (D,)
    scale : ndarray, shape (D, D)
    """

    mean: FloatArray
    scale: FloatArray

    @classmethod
    def fit(cls, features: FloatArray) -> Whitening:
        """Fitted to features (N, D)."""
        mean = features.mean(axis=0)
        centred = features - mean
        variances, axes = np.linalg.eigh(centred.T @ centred / len(centred))
        variances = np.maximum(variances, 0)
        return cls(mean, axes / np.sqrt(variances + SHRINKAGE * variances.mean() + 1e-12))

    def __call__(self, features: FloatArray) -> FloatArray:
        """Whitened features and a column of ones, (N, D + 1), float32."""
        ones = np.ones((len(features), 1))
        white = (features - self.mean) @ self.scale
        return np.concatenate([white, ones], axis=1).astype(np.float32)

    def folded(self, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Weights (D, K) and constants (K,) of plain features, for those (D + 1, K) of whitened."""
        linear = self.scale.astype(np.float64) @ weights[:-1]
        return linear, weights[-1] - self.mean @ linear


@dataclass(frozen=True)
class FourierFeatures:
    """Features beside random Fourier features of their whitened directions, (N, D + W).

    Inner products of the latter approximate a Gaussian kernel of width 1 on the unit sphere
    (Rahimi and Recht, NeurIPS 2007); they get half of the weight of the plain features.

    Attributes
    ----------
    directions : ndarray, shape (D, W)
    phases : ndarray, shape (W,)
    spread, wave_spread : float
        Standard deviation of the features and of the waves in the rows it was fitted to.
    """

    directions: FloatArray
    phases: FloatArray
    spread: float
    wave_spread: float

    @classmethod
    def fit(
        cls, features: FloatArray, whitened: FloatArray, seed: int | np.integer
    ) -> FourierFeatures:
        """Fitted to features (N, D) and the same rows whitened (N, D + 1)."""
        generator = np.random.default_rng(seed)
        width = max(1, min(MOST_FOURIER, len(whitened) // 40))
        shape = (whitened.shape[1] - 1, width)
        directions = generator.normal(size=shape).astype(np.float32)
        phases = generator.uniform(0, 2 * np.pi, width)
        waves = _waves(whitened, directions, phases)
        return cls(directions, phases, max(features.std(), LEAST), max(waves.std(), LEAST))

    def __call__(self, features: FloatArray, whitened: FloatArray) -> FloatArray:
        """The map of further rows."""
        waves = self.waves(whitened)
        scaled = [features / self.spread, 0.5 * waves / self.wave_spread]
        return np.concatenate(scaled, axis=1).astype(np.float32)

    def waves(self, whitened: FloatArray) -> FloatArray:
        """Cosines (N, W) of whitened rows."""
        return _waves(whitened, self.directions, self.phases)


def _waves(whitened: FloatArray, directions: FloatArray, phases: FloatArray) -> FloatArray:
    length = np.linalg.norm(whitened[:, :-1], axis=1, keepdims=True)
    return np.cos(whitened[:, :-1] / np.maximum(length, LEAST) @ directions + phases)
