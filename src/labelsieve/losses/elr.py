"""Early-learning regularisation: stay near what was predicted before the noise was fitted."""

from __future__ import annotations

import torch

from .probabilities import log_probabilities, of_label

FLOOR = 1e-4  # probabilities are kept in FLOOR..1 - FLOOR, as published


def elr_targets(
    previous: torch.Tensor, probabilities: torch.Tensor, momentum: float = 0.3
) -> torch.Tensor:
    """Running targets after one more prediction: ``momentum t + (1 - momentum) p / sum p``.

    Liu et al., NeurIPS 2020, with the momentum that DeFT's code uses (0.7 and 0.9 in the original).

    Parameters
    ----------
    previous : Tensor, shape (B, K)
        Targets so far; zeros at the start.
    probabilities : Tensor, shape (B, K)
        Current softmax outputs; no gradient flows through them.
    momentum : float
        Weight of the past.

    Returns
    -------
    Tensor, shape (B, K)
        Each row sums to at most 1.
    """
    p = probabilities.detach().to(previous.dtype).clamp(FLOOR, 1 - FLOOR)
    return momentum * previous + (1 - momentum) * p / p.sum(dim=1, keepdim=True)


def elr_loss(
    logits: torch.Tensor, labels: torch.Tensor, targets: torch.Tensor, weight: float = 5.0
) -> torch.Tensor:
    """Cross-entropy plus ``weight log(1 - <t, p>)``, which pulls predictions to their targets.

    Parameters
    ----------
    logits : Tensor, shape (B, K)
        Scaled similarities (temperature included).
    labels : Tensor of int64, shape (B,)
        Class indices.
    targets : Tensor, shape (B, K)
        From `elr_targets`, already updated with this prediction.
    weight : float
        Of the regulariser; 5 in DeFT's code, 3 or 7 in the original.

    Returns
    -------
    Tensor, shape (B,)
        One value a sample; negative where prediction and target agree.

    Examples
    --------
    >>> logits = torch.tensor([[2.0, 1.0, 0.1, -1.0]])
    >>> targets = elr_targets(torch.zeros(1, 4), logits.softmax(dim=1))
    >>> elr_loss(logits, torch.tensor([1]), targets).round(decimals=4)
    tensor([-0.5579])
    """
    log_p = log_probabilities(logits)
    p = log_p.exp().clamp(FLOOR, 1 - FLOOR)
    agreement = (targets.to(p.dtype) * p).sum(dim=1)
    return -of_label(log_p, labels) + weight * torch.log1p(-agreement)
