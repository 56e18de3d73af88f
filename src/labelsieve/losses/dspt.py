"""Double-softmax cross-entropy (DSPT): the gradients of confidently wrong samples vanish."""

from __future__ import annotations

import torch

from .probabilities import log_probabilities, of_label


def double_softmax_cross_entropy(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of the softmax of the softmax, -p_y + log sum_k exp p_k.

    "Intrinsic Gradient Suppression for Label-Noise Prompt Tuning" (2026). No hyper-parameter. The
    value lies in [log(1 + (K-1)/e), log(K-1+e)], an interval of width 1, and its gradient with
    respect to the logits is about p_y (1 - p_y): zero for a sample that is confidently right and
    for one that is confidently wrong. That needs logits at CLIP's scale (about 100 times the
    cosine); at scale 1 all gradients are alike and nothing is suppressed.

    Parameters
    ----------
    logits : Tensor, shape (B, K)
        Scaled similarities (temperature included), never probabilities: that would be a third
        softmax.
    labels : Tensor of int64, shape (B,)
        Class indices.

    Returns
    -------
    Tensor, shape (B,)
        One value a sample.
    """
    p = log_probabilities(logits).exp()
    return -of_label(torch.log_softmax(p, dim=-1), labels)
