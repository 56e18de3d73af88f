"""Normalised plus reverse cross-entropy: an active and a passive robust loss together."""

from __future__ import annotations

import torch

from ..core.validation import check_number
from .probabilities import log_probabilities, of_label
from .sce import reverse_cross_entropy


def normalized_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Normalised cross-entropy, log p_y / sum_k log p_k, shape (B,), in 0..1."""
    log_p = log_probabilities(logits)
    return of_label(log_p, labels) / log_p.sum(dim=-1)


def normalized_plus_reverse_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, alpha: float = 1.0, beta: float = 1.0
) -> torch.Tensor:
    """Active-passive loss, alpha * NCE + beta * reverse CE.

    Ma et al., ICML 2020, equations 5 and 11.

    Parameters
    ----------
    logits : Tensor, shape (B, K)
        Scaled similarities (temperature included).
    labels : Tensor of int64, shape (B,)
        Class indices.
    alpha, beta : float
        Weights of the normalised and of the reverse cross-entropy, at least 0.

    Returns
    -------
    Tensor, shape (B,)
        One value a sample.
    """
    check_number(alpha, name="alpha", low=0.0)
    check_number(beta, name="beta", low=0.0)
    active = normalized_cross_entropy(logits, labels)
    return alpha * active + beta * reverse_cross_entropy(logits, labels)
