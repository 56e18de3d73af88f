"""The names of the losses."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import partial

import torch

from ..core.exceptions import InputError
from ..core.registry import Registry

Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]

LOSSES = Registry(
    "loss",
    {
        "ce": "labelsieve.losses.ce:cross_entropy",
        "gce": "labelsieve.losses.gce:generalized_cross_entropy",
        "mae": "labelsieve.losses.mae:mean_absolute_error",
        "sce": "labelsieve.losses.sce:symmetric_cross_entropy",
        "nce_rce": "labelsieve.losses.nce_rce:normalized_plus_reverse_cross_entropy",
        "phuber": "labelsieve.losses.phuber:partially_huberised_cross_entropy",
        "label_smoothing": "labelsieve.losses.label_smoothing:label_smoothing_cross_entropy",
        "dspt": "labelsieve.losses.dspt:double_softmax_cross_entropy",
    },
)


def make_loss(name: str, **params: float) -> Loss:
    """A loss by name, with its parameters bound.

    Parameters
    ----------
    name : str
        One of `LOSSES.names()`.
    **params
        Keyword parameters of the loss, such as ``q`` of ``gce``.

    Returns
    -------
    callable
        ``loss(logits, labels)`` with logits (B, K) and labels (B,) gives one value a sample, (B,).

    Raises
    ------
    InputError
        If the name or a parameter is unknown.

    Examples
    --------
    >>> loss = make_loss("gce", q=0.5)
    >>> loss(torch.tensor([[2.0, 1.0, 0.1, -1.0]]), torch.tensor([1])).round(decimals=4)
    tensor([1.0310])
    """
    function = LOSSES.get(name)
    allowed = list(inspect.signature(function).parameters)[2:]
    unknown = sorted(set(params) - set(allowed))
    if unknown:
        raise InputError(
            f"loss {name!r} has no parameter {', '.join(unknown)}; "
            f"it takes {', '.join(allowed) if allowed else 'none'}"
        )
    return partial(function, **params) if params else function
