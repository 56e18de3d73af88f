"""The fitted latent-label model, for rows that it was not fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ..core.validation import FloatArray, IntArray
from .feature_maps import FourierFeatures, Whitening

LEAST = 1e-30


@dataclass(frozen=True)
class LatentModel:
    """The mean of the repeats' log-posteriors, which is linear in few maps of the features.

    Attributes
    ----------
    whitening : Whitening
        Of the features, as the waves see them.
    weights : ndarray of float32, shape (D, K)
        Of the features.
    waves : list of tuple
        Fourier features of the repeats that have them, each with the weights (W, K) of its waves.
    trust : float
        Factor of the zero-shot logits.
    offsets : ndarray of float32, shape (K, K)
        The mean log noise matrix and the constants: row i for given label i.
    """

    whitening: Whitening
    weights: FloatArray
    waves: list[tuple[FourierFeatures, FloatArray]]
    trust: float
    offsets: FloatArray

    @classmethod
    def of(cls, whitening: Whitening, repeats: list[tuple[Any, ...]]) -> LatentModel:
        """Put together from the repeats.

        Parameters
        ----------
        whitening : Whitening
        repeats : list of tuple
            For each repeat its Fourier features with their whitening (None without), the
            correction (F, K), the stacking weights (2 + K,) and the noise matrix. The correction
            is the mean over the folds, since none of them has seen a new sample.
        """
        n_columns, share = len(whitening.mean), 1 / len(repeats)
        n_classes = len(repeats[0][-1])
        weights, offsets = np.zeros((n_columns, n_classes)), np.zeros((n_classes, n_classes))
        trust, waves = 0.0, []
        for (fourier, white), correction, v, matrix in repeats:
            linear, constant = (white or whitening).folded(correction)
            linear = share * v[1] * linear
            constant = share * (v[1] * constant + v[2:])
            if fourier is not None:
                waves.append((fourier, (0.5 / fourier.wave_spread * linear[n_columns:])))
                linear = linear[:n_columns] / fourier.spread
            weights, trust = weights + linear, trust + share * float(v[0])
            offsets = offsets + constant + share * np.log(matrix.T + LEAST)
        waves = [(fourier, part.astype(np.float32)) for fourier, part in waves]
        return cls(whitening, weights.astype(np.float32), waves, trust, offsets.astype(np.float32))

    def posterior(
        self, features: FloatArray, labels: IntArray, zero_shot_logits: FloatArray
    ) -> FloatArray:
        """P(true | image, given label), shape (N, K), of rows that were not fitted.

        Parameters
        ----------
        features, labels, zero_shot_logits
            As for `fit_latent_labels`.
        """
        logits = features @ self.weights
        logits += np.float32(self.trust) * centred(zero_shot_logits)
        logits += self.offsets[labels]
        if self.waves:
            whitened = self.whitening(features)
            for fourier, weights in self.waves:
                logits += fourier.waves(whitened) @ weights
        return torch.from_numpy(logits).double().softmax(dim=1).numpy()


def centred(zero_shot_logits: FloatArray) -> FloatArray:
    """Logits less the mean of their row, float32."""
    zero_shot = np.asarray(zero_shot_logits, dtype=np.float32)
    return zero_shot - zero_shot.mean(axis=1, keepdims=True)
