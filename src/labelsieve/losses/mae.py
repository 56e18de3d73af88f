"""Mean absolute error on probabilities, called PromptMAE when it tunes prompts."""

from __future__ import annotations

import torch

from .probabilities import log_probabilities, of_label


def mean_absolute_error(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean absolute error, 1 - p_y (half of the L1 distance to the one-hot label).

    Bounded and symmetric: the sum over all labels is K - 1 for any prediction, which is what
    makes it robust to symmetric noise (Ghosh et al., AAAI 2017); used for prompts by NLPrompt
    (CVPR 2025).

    Parameters
    ----------
    logits : Tensor, shape (B, K)
        Scaled similarities (temperature included).
    labels : Tensor of int64, shape (B,)
        Class indices.

    Returns
    -------
    Tensor, shape (B,)
        One value a sample, in 0..1.
    """
    return 1.0 - of_label(log_probabilities(logits), labels).exp()
