"""Generalized cross-entropy: a bridge from cross-entropy (q to 0) to absolute error (q = 1)."""

from __future__ import annotations

import torch

from ..core.validation import check_number
from .probabilities import log_probabilities, of_label


def generalized_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, q: float = 0.7
) -> torch.Tensor:
    """Generalized cross-entropy, (1 - p_y^q) / q.

    Zhang and Sabuncu, NeurIPS 2018, equation 6; PTNL uses q = 0.7 for its robust variant.

    Parameters
    ----------
    logits : Tensor, shape (B, K)
        Scaled similarities (temperature included).
    labels : Tensor of int64, shape (B,)
        Class indices.
    q : float
        In (0, 1]; larger is more robust and slower to learn.

    Returns
    -------
    Tensor, shape (B,)
        One value a sample, in 0..1/q.
    """
    check_number(q, name="q", low=1e-6, high=1.0)
    return -torch.expm1(q * of_label(log_probabilities(logits), labels)) / q
