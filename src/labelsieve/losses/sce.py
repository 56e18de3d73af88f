"""Symmetric cross-entropy: cross-entropy plus its reverse."""

from __future__ import annotations

import math

import torch

from ..core.validation import check_number
from .probabilities import log_probabilities, of_label

REVERSE_SCALE = -math.log(1e-4)  # the zeros of a one-hot label are read as 1e-4


def reverse_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Reverse cross-entropy, -sum_k p_k log onehot_k = 9.2103 (1 - p_y), shape (B,)."""
    return REVERSE_SCALE * (1.0 - of_label(log_probabilities(logits), labels).exp())


def symmetric_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, alpha: float = 1.0, beta: float = 1.0
) -> torch.Tensor:
    """Symmetric cross-entropy, alpha * CE + beta * reverse CE.

    Wang et al., ICCV 2019, equation 7, with log 0 read as log 1e-4.

    Parameters
    ----------
    logits : Tensor, shape (B, K)
        Scaled similarities (temperature included).
    labels : Tensor of int64, shape (B,)
        Class indices.
    alpha, beta : float
        Weights of cross-entropy and of its reverse, at least 0.

    Returns
    -------
    Tensor, shape (B,)
        One value a sample.
    """
    check_number(alpha, name="alpha", low=0.0)
    check_number(beta, name="beta", low=0.0)
    ce = -of_label(log_probabilities(logits), labels)
    return alpha * ce + beta * reverse_cross_entropy(logits, labels)
