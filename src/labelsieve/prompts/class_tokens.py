"""What stands in the place of the class name: the study of Wu et al. (PTNL, ICCV 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

CLASS_TOKENS = ("names", "random", "shuffled", "tuned", "tuned-only")
"""Frozen class names; random vectors in their place, frozen; the name of another class; names that
are trained together with the context; names that are trained alone, with a frozen context."""

TUNED = ("tuned", "tuned-only")


def shuffled_names(names: Sequence[str], generator: torch.Generator) -> tuple[str, ...]:
    """The names dealt out anew, so that every class gets the name of another one.

    A random cycle through all classes: each class takes the name of the next one in it.

    Parameters
    ----------
    names : sequence of str
        At least two.
    generator : torch.Generator
        A CPU generator.

    Examples
    --------
    >>> shuffled_names(["cat", "dog"], torch.Generator())
    ('dog', 'cat')
    """
    cycle: list[int] = torch.randperm(len(names), generator=generator).tolist()
    following = dict(zip(cycle, cycle[1:] + cycle[:1], strict=True))
    return tuple(str(names[following[k]]) for k in range(len(names)))


def random_like(tokens: Tensor, generator: torch.Generator) -> Tensor:
    """Normal draws with the standard deviation of the token embeddings that they replace.

    Parameters
    ----------
    tokens : Tensor
        Shape (T, d): the embeddings of all class-name tokens.
    generator : torch.Generator
        A CPU generator.

    Returns
    -------
    Tensor
        Shape (T, d), float32, on the device of `tokens`.
    """
    draws = torch.randn(tokens.shape, generator=generator)
    return (draws * tokens.std(correction=0).cpu()).to(tokens.device)
