"""Clean probabilities that promise no more than they keep."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit

from ..core.validation import FloatArray

SLOPE = 0.75
"""Of the log-odds; chosen on label sets with a known truth, see docs/results/honesty.md."""
LARGEST_SHIFT = 100.0


@dataclass(frozen=True)
class Tempering:
    """Log-odds of clean probabilities times a slope below 1, plus a shift that keeps their mean.

    A model that was fitted to the labels it judges is too sure of them: of the labels that it calls
    wrong fewer are, and of the others more. The slope takes that back (Platt, 1999, with the
    intercept set by the mean), and the noise rate that the model estimates stays as it is.

    Attributes
    ----------
    shift, slope : float
        p' = sigmoid(slope logit(p) + shift).

    Examples
    --------
    >>> p = np.array([0.01, 0.99, 0.99, 0.99])
    >>> tempered = Tempering.fit(p)(p)
    >>> bool(tempered[0] > 0.01), round(float(tempered.mean()), 6) == round(float(p.mean()), 6)
    (True, True)
    """

    shift: float
    slope: float = SLOPE

    @classmethod
    def fit(cls, p_clean: FloatArray, slope: float = SLOPE) -> Tempering:
        """The tempering that keeps the mean of some probabilities.

        Parameters
        ----------
        p_clean : ndarray, shape (N,)
            In 0..1.
        slope : float
            Above 0.
        """
        if not len(p_clean):
            return cls(0.0, slope)
        odds = slope * _log_odds(p_clean)
        target = float(np.mean(p_clean))

        def gap(shift: float) -> float:
            return float(expit(odds + shift).mean()) - target

        if gap(-LARGEST_SHIFT) >= 0 or gap(LARGEST_SHIFT) <= 0:
            return cls(0.0, slope)  # all rows are certain, one way
        return cls(float(brentq(gap, -LARGEST_SHIFT, LARGEST_SHIFT)), slope)  # type: ignore[arg-type]

    def __call__(self, p_clean: FloatArray) -> FloatArray:
        """The tempered probabilities, shape (N,), in the same order."""
        return expit(self.slope * _log_odds(p_clean) + self.shift)


def _log_odds(p: FloatArray) -> FloatArray:
    """Finite, and different wherever the probabilities are."""
    return logit(np.clip(np.asarray(p, dtype=float), 1e-300, 1.0 - 2.0**-53))
