"""Small loss: of every batch, train on the samples that are easiest to believe."""

from __future__ import annotations

import math

import torch

from ..core.validation import check_number


def forget_rate(epoch: int, noise_rate: float, warmup_epochs: int) -> float:
    """Share of a batch that is left out: from 0 to the noise rate in the warm-up, then constant.

    As in Co-teaching (Han et al., NeurIPS 2018): ``linspace(0, noise_rate, warmup_epochs)``.

    Parameters
    ----------
    epoch : int
        From 0.
    noise_rate : float
        The known share of wrong labels.
    warmup_epochs : int
        Epochs of the rise.

    Examples
    --------
    >>> [round(forget_rate(e, 0.4, 5), 2) for e in range(6)]
    [0.0, 0.1, 0.2, 0.3, 0.4, 0.4]
    """
    if epoch >= warmup_epochs:
        return noise_rate
    return noise_rate * epoch / max(warmup_epochs - 1, 1)


def keep_small_losses(losses: torch.Tensor, rate: float) -> torch.Tensor:
    """Mark the ``floor((1 - rate) B)`` smallest losses of a batch; ties go to the earlier row.

    Parameters
    ----------
    losses : Tensor, shape (B,)
        One loss a sample.
    rate : float
        Share to leave out, in 0..1. At least one sample stays, unless it is 1.

    Returns
    -------
    Tensor of bool, shape (B,)
        Which samples are kept.

    Examples
    --------
    >>> keep_small_losses(torch.tensor([0.3, 2.0, 0.1, 0.7]), 0.5)
    tensor([ True, False,  True, False])
    """
    check_number(rate, name="rate", low=0.0, high=1.0)
    n_kept = math.floor((1 - rate) * len(losses) + 1e-9)  # (1 - 0.9) * 10 is not quite 1
    n_kept = max(n_kept, 1 if rate < 1 else 0)
    keep = torch.zeros(len(losses), dtype=torch.bool, device=losses.device)
    keep[losses.detach().argsort(stable=True)[:n_kept]] = True
    return keep
