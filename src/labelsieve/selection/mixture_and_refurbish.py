"""The parts of JoAPR: joint loss, adaptive threshold, refurbished labels, mixup of features."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import normalize, one_hot

from ..core.random import numpy_generator


def joint_loss(
    log_p: Tensor, log_p_prior: Tensor, labels: Tensor, agreement: float = 0.5
) -> Tensor:
    """Mean cross-entropy of two predictions, joined with their Jensen-Shannon divergence.

    ``(1 - a) (CE(p, y) + CE(prior, y)) / 2 + a JS(p, prior)``. A right label is likely for both
    and they agree; a label that tuning has memorised has a small cross-entropy but sets the tuned
    prediction against the prior.

    Parameters
    ----------
    log_p : Tensor, shape (N, K)
        Log-probabilities of the tuned model.
    log_p_prior : Tensor, shape (N, K)
        Log-probabilities of the same images before tuning.
    labels : Tensor of int64, shape (N,)
        Given labels.
    agreement : float
        Weight a of the divergence, in 0..1.

    Returns
    -------
    Tensor, shape (N,)
        At least 0.
    """
    at = labels[:, None]
    cross_entropy = -0.5 * (log_p.gather(1, at) + log_p_prior.gather(1, at)).squeeze(1)
    return (1 - agreement) * cross_entropy + agreement * jensen_shannon(log_p, log_p_prior)


def jensen_shannon(log_p: Tensor, log_q: Tensor) -> Tensor:
    """Jensen-Shannon divergence of rows of log-probabilities, (N, K) twice -> (N,), 0..log 2.

    Examples
    --------
    >>> p = torch.tensor([[1.0, 1e-30]]).log()
    >>> jensen_shannon(p, p.flip(1)).round(decimals=4), jensen_shannon(p, p)
    (tensor([0.6931]), tensor([0.]))
    """
    log_middle = torch.logaddexp(log_p, log_q) - math.log(2)
    parts = log_p.exp() * (log_p - log_middle) + log_q.exp() * (log_q - log_middle)
    return 0.5 * parts.sum(dim=1).clamp(min=0.0)


def adaptive_threshold(p_clean: Tensor) -> float:
    """Lowest clean probability of the clean part: the mean over all rows.

    When most labels look right, more is asked of each; when few do, less. Neither a rate nor a
    constant is needed, and since no mean exceeds every value, the clean part is never empty.

    Examples
    --------
    >>> round(adaptive_threshold(torch.tensor([1.0, 0.9, 0.8, 0.1])), 4)
    0.7
    """
    return float(p_clean.double().mean())


def clean_part(p_clean: Tensor) -> Tensor:
    """Which rows reach the adaptive threshold, (N,) bool; rounding of the mean is forgiven."""
    return p_clean.double() >= adaptive_threshold(p_clean) - 1e-9


def refurbish_labels(labels: Tensor, p_clean: Tensor, predictions: Tensor, clean: Tensor) -> Tensor:
    """Targets: the given label in the clean part, elsewhere mixed with the prediction.

    ``w onehot(y) + (1 - w) p`` with the clean probability w of the row.

    Parameters
    ----------
    labels : Tensor of int64, shape (N,)
        Given labels.
    p_clean : Tensor, shape (N,)
        Clean probabilities.
    predictions : Tensor, shape (N, K)
        Probabilities.
    clean : Tensor of bool, shape (N,)
        The clean part.

    Returns
    -------
    Tensor, shape (N, K)
        Rows sum to 1.

    Examples
    --------
    >>> p = torch.tensor([[0.2, 0.8], [0.2, 0.8]])
    >>> labels, w = torch.tensor([0, 0]), torch.tensor([0.9, 0.25])
    >>> refurbish_labels(labels, w, p, torch.tensor([True, False]))
    tensor([[1.0000, 0.0000],
            [0.4000, 0.6000]])
    """
    given = one_hot(labels, predictions.shape[1]).to(predictions.dtype)
    weight = torch.where(clean, torch.ones_like(p_clean), p_clean).to(predictions.dtype)[:, None]
    return weight * given + (1 - weight) * predictions


def mixup_features(
    features: Tensor, targets: Tensor, alpha: float, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Mix every row with another one, features and targets alike (Zhang et al., ICLR 2018).

    One share for the batch, drawn from Beta(alpha, alpha) and turned to at least a half, as in
    MixMatch, so that a mixed row stays nearer to its own; mixed features are brought back to
    length 1.

    Parameters
    ----------
    features : Tensor, shape (B, D)
        Normalised.
    targets : Tensor, shape (B, K)
        Rows sum to 1.
    alpha : float
        At least 0; 0 mixes nothing.
    generator : torch.Generator
        On the CPU.

    Returns
    -------
    features, targets : Tensor
        Of the same shapes.
    """
    if alpha == 0:
        return features, targets
    seed = int(torch.randint(2**62, (), generator=generator))
    share = float(numpy_generator(seed).beta(alpha, alpha))  # torch's Beta has no generator
    share = max(share, 1 - share)
    partner = torch.randperm(len(features), generator=generator).to(features.device)
    mixed = share * features + (1 - share) * features[partner]
    return normalize(mixed, dim=1), share * targets + (1 - share) * targets[partner]


def soft_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """Cross-entropy to targets that are distributions, (B, K) twice -> (B,)."""
    return -(targets * torch.log_softmax(logits.float(), dim=1)).sum(dim=1)
