"""PromptOT: pseudo labels from optimal transport, and the given labels that agree with them."""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.validation import check_choice, check_number
from .sinkhorn import sinkhorn

log = logging.getLogger(__name__)

COSTS = ("log-probability", "double-softmax")


@dataclass(frozen=True, eq=False)
class LabelPartition:
    """Rows split into a clean and a noisy part.

    Attributes
    ----------
    pseudo_labels : Tensor of int64, shape (N,)
        The class that the plan sends most of each row to.
    clean : Tensor of bool, shape (N,)
        Whether the given label is believed; the others are the noisy part.
    """

    pseudo_labels: Tensor
    clean: Tensor


def prompt_ot(
    logits: Tensor,
    labels: Tensor,
    *,
    reg: float = 0.01,
    budget: float = 1.0,
    cost: str = "log-probability",
    tolerance: float = 1e-4,
) -> LabelPartition:
    """Split rows by optimal transport between images and text features (NLPrompt, CVPR 2025).

    Rows carry 1/N and classes ``budget / K`` each, so pseudo labels are balanced over classes. A
    label is clean if it equals the pseudo label and the row is among the ``budget N`` rows with
    the largest plan entries.

    Parameters
    ----------
    logits : Tensor, shape (N, K)
        Scaled similarities of images to the current text features.
    labels : Tensor of int64, shape (N,)
        Given labels.
    reg : float
        Entropic regularisation.
    budget : float
        Share of the rows that may be clean, in (0, 1]; at least one row is within it.
    cost : {"log-probability", "double-softmax"}
        ``-log softmax(logits)``, as the paper writes it, or that of the softmax itself, as the
        authors' code computes it (its entries differ by at most 1).
    tolerance : float
        Of the plan's row marginals.

    Examples
    --------
    >>> logits = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 0.5], [0.2, 0.0]])
    >>> found = prompt_ot(logits, torch.tensor([0, 1, 1, 0]), reg=0.5)
    >>> found.pseudo_labels.tolist(), found.clean.tolist()
    ([0, 0, 1, 1], [True, False, True, False])
    """
    check_number(budget, name="budget", low=1e-12, high=1.0)
    found = sinkhorn(transport_cost(logits, cost), reg, mass=budget, tolerance=tolerance)
    if not found.converged:
        log.info(
            "optimal transport stopped after %d iterations, %.1e off the marginals",
            found.n_iterations,
            found.error,
        )
    strength, pseudo_labels = found.plan.max(dim=1)
    within = torch.zeros_like(strength, dtype=torch.bool)
    order = strength.argsort(descending=True, stable=True)
    within[order[: n_within(len(order), budget)]] = True
    return LabelPartition(pseudo_labels, within & (pseudo_labels == labels.to(logits.device)))


def transport_cost(logits: Tensor, kind: str = "log-probability") -> Tensor:
    """Cost of sending each row to each class, (N, K) float64; see `prompt_ot`."""
    check_choice(kind, COSTS, name="cost")
    scores = logits.detach().double()
    if kind == "double-softmax":
        scores = scores.softmax(dim=1)
    return -scores.log_softmax(dim=1)


def n_within(n_rows: int, budget: float) -> int:
    """How many rows a budget is: ``floor(budget N)``, at least 1, and all N for a budget of 1.

    Examples
    --------
    >>> n_within(160, 0.1 + 0.2 + 0.7), n_within(10, 0.3), n_within(2, 0.3)
    (160, 3, 1)
    """
    # A budget that is a sum of floats is often .9999999: plain flooring would lose a row.
    return min(n_rows, max(1, math.floor(budget * (1 + 1e-6) * n_rows)))


def curriculum_budget(epoch: int, n_epochs: int, begin: float = 0.3) -> float:
    """Budget of an epoch: rises linearly from `begin` to 1 over `n_epochs`, and stays there.

    Parameters
    ----------
    epoch : int
        From 0.
    n_epochs : int
        Epochs of the rise; 0 gives a budget of 1 from the start, the default of NLPrompt's code.
    begin : float
        Budget of the first epoch.

    Examples
    --------
    >>> [round(curriculum_budget(e, 4, 0.2), 2) for e in range(6)]
    [0.2, 0.4, 0.6, 0.8, 1.0, 1.0]
    """
    return 1.0 if epoch >= n_epochs else begin + (1 - begin) * epoch / n_epochs
