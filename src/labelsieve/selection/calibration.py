"""From a score that only orders labels to a probability that a label is right."""

from __future__ import annotations

import numpy as np
from sklearn.isotonic import IsotonicRegression

from ..core.threads import threads_for
from ..core.validation import FloatArray, IntArray
from .noise_em import posterior_of_logits

MOST_ROWS = 20_000


def calibration_rows(n_rows: int) -> IntArray:
    """The rows that are calibrated on: all, or `MOST_ROWS` evenly spaced ones."""
    return np.linspace(0, n_rows - 1, min(n_rows, MOST_ROWS)).astype(int)


def calibrate_scores(
    scores: FloatArray, logits: FloatArray, labels: IntArray
) -> tuple[FloatArray, FloatArray]:
    """Clean probability as a monotone function of a score, without any true label.

    The class logits and the given labels tell, through a fitted noise matrix, how probable each
    given label is (`posterior_of_logits`); isotonic regression of that on the score keeps the
    order of the score and takes over its level. The noise rate that follows is the one that the
    noise matrix explains. Beyond `MOST_ROWS` rows it is fitted to as many, evenly spaced, so that
    memory and time do not grow.

    Parameters
    ----------
    scores : ndarray, shape (N,)
        Low = worse; any scale.
    logits : ndarray, shape (N, K) or (M, K)
        Of the classifier that belongs to the score, for all rows or for `calibration_rows(N)`.
    labels : ndarray of int64, shape (N,)
        Given labels.

    Returns
    -------
    p_clean : ndarray of float64, shape (N,)
        In 0..1, non-decreasing in the score.
    matrix : ndarray of float64, shape (K, K)
        The noise matrix P(given | true); rows are true classes.
    """
    some = calibration_rows(len(labels))
    logits = logits if len(logits) == len(some) else logits[some]
    with threads_for(logits.size):
        posterior, matrix = posterior_of_logits(logits, labels[some])
    believed = posterior[np.arange(len(some)), labels[some]]
    regression = IsotonicRegression(y_min=0.0, y_max=1.0, out_of_bounds="clip")
    return np.clip(regression.fit(scores[some], believed).predict(scores), 0.0, 1.0), matrix
