"""Partially Huberised cross-entropy: cross-entropy with its steep part made linear."""

from __future__ import annotations

import math

import torch

from ..core.validation import check_number
from .probabilities import log_probabilities, of_label


def partially_huberised_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, tau: float = 10.0
) -> torch.Tensor:
    """-log p_y where p_y > 1/tau, else its tangent there, -tau p_y + log tau + 1.

    Menon et al., ICLR 2020.

    Parameters
    ----------
    logits : Tensor, shape (B, K)
        Scaled similarities (temperature included).
    labels : Tensor of int64, shape (B,)
        Class indices.
    tau : float
        Largest slope with respect to p_y, at least 1; 1 is the absolute error.

    Returns
    -------
    Tensor, shape (B,)
        One value a sample, at most log tau + 1.
    """
    check_number(tau, name="tau", low=1.0)
    log_p = of_label(log_probabilities(logits), labels)
    linear = -tau * log_p.exp() + math.log(tau) + 1.0
    return torch.where(log_p > -math.log(tau), -log_p, linear)
