"""Positive minus negative logits of all rows, in chunks: no matrix of margins is kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from ..core.arrays import chunks, probabilities
from ..core.validation import FloatArray, IntArray

Logits = Callable[[Any], tuple[torch.Tensor, torch.Tensor]]
"""Positive and negative logits of any rows, each (B, K)."""


def margins(
    logits: Logits, labels: IntArray, n_classes: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, FloatArray]:
    """What the judgement of N rows needs of their margins.

    Parameters
    ----------
    logits : callable
        Gives the positive and negative logits of rows.
    labels : ndarray of int64, shape (N,)
        Given labels.
    n_classes : int
        K.

    Returns
    -------
    margin, largest : Tensor of float64, shape (N,)
        Of the given class, and of the best one.
    agrees : Tensor of bool, shape (N,)
        Whether the given class is the best one.
    p : ndarray, shape (N, K)
        Probabilities by the positive prompts.
    """
    given, n = torch.as_tensor(labels), len(labels)
    margin, largest = torch.empty(2, n, dtype=torch.float64)
    agrees, p = torch.empty(n, dtype=torch.bool), probabilities(n, n_classes)
    for rows in chunks(n, n_classes):
        positive, negative = logits(rows)
        difference = (positive - negative).double()
        margin[rows] = difference.gather(1, given[rows, None])[:, 0]
        largest[rows], best = difference.max(dim=1)
        agrees[rows] = best == given[rows]
        p[rows] = positive.double().softmax(dim=1).numpy()
    return margin, largest, agrees, p
