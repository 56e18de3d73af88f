"""Cross-entropy against a label that is mixed with the uniform distribution."""

from __future__ import annotations

import torch

from ..core.validation import check_number
from .probabilities import log_probabilities, of_label


def label_smoothing_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.1
) -> torch.Tensor:
    """(1 - smoothing) * CE + smoothing * mean over classes of -log p_k.

    Szegedy et al., CVPR 2016, section 7.

    Parameters
    ----------
    logits : Tensor, shape (B, K)
        Scaled similarities (temperature included).
    labels : Tensor of int64, shape (B,)
        Class indices.
    smoothing : float
        Share of the uniform distribution, 0..1.

    Returns
    -------
    Tensor, shape (B,)
        One value a sample.
    """
    check_number(smoothing, name="smoothing", low=0.0, high=1.0)
    log_p = log_probabilities(logits)
    return -(1.0 - smoothing) * of_label(log_p, labels) - smoothing * log_p.mean(dim=-1)
