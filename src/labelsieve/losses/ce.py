"""Cross-entropy: the loss that fits noise as eagerly as signal."""

from __future__ import annotations

import torch

from .probabilities import log_probabilities, of_label


def cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy, -log p_y.

    Parameters
    ----------
    logits : Tensor, shape (B, K)
        Scaled similarities (temperature included).
    labels : Tensor of int64, shape (B,)
        Class indices.

    Returns
    -------
    Tensor, shape (B,)
        One value a sample.
    """
    return -of_label(log_probabilities(logits), labels)
