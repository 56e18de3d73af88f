"""Where the encoder blocks of a transformers vision tower are."""

from __future__ import annotations

from typing import cast

from torch import nn

from ..core.exceptions import InputError


def blocks(tower: nn.Module) -> nn.ModuleList:
    """The encoder blocks, first to last; `InputError` for towers of another make."""
    try:
        return cast(nn.ModuleList, tower.get_submodule("encoder.layers"))
    except AttributeError as error:
        raise InputError(
            f"the image tower ({type(tower).__name__}) cannot be tuned: it has no encoder "
            'blocks in the form of transformers; use visual_tuning="none"'
        ) from error


def last(n_blocks: int, partial: int | None) -> list[int]:
    """The 0-based numbers of the last `partial` blocks of `n_blocks`; all for None.

    Examples
    --------
    >>> last(12, 2)
    [10, 11]
    """
    return list(range(n_blocks))[-partial if partial else 0 :]


def chosen(tower: nn.Module, partial: int | None) -> dict[str, nn.Module]:
    """The last `partial` blocks (all for None), by their 0-based number."""
    layers = blocks(tower)
    return {str(i): layers[i] for i in last(len(layers), partial)}
