"""Which predictions are taken for labels: UPL's top-k of each predicted class."""

from __future__ import annotations

import numpy as np

from ..core.validation import FloatArray, IntArray


def most_confident(logits: FloatArray, shots: int) -> IntArray:
    """Rows with the largest probabilities among those predicted as the same class.

    Parameters
    ----------
    logits : ndarray, shape (N, K)
    shots : int
        Rows a predicted class; all where there are fewer.

    Returns
    -------
    ndarray of int64
        Row indices, ascending. Ties go to the earlier row.

    Notes
    -----
    Huang et al., "Unsupervised Prompt Learning for Vision-Language Models", 2022: confidence is
    the largest softmax probability.

    Examples
    --------
    >>> most_confident(np.array([[2.0, 0.0], [3.0, 0.0], [0.0, 1.0]]), shots=1).tolist()
    [1, 2]
    """
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    confidence = 1 / np.exp(shifted).sum(axis=1)
    labels = logits.argmax(axis=1)
    order = np.lexsort((-confidence, labels))
    starts = np.searchsorted(labels[order], np.arange(logits.shape[1]))
    rank = np.arange(len(order)) - starts[labels[order]]
    return np.sort(order[rank < shots]).astype(np.int64)
