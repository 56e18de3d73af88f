"""Bias tuning (BitFit; Zaken et al., ACL 2022)."""

from __future__ import annotations

from torch import nn

from .own_copies import AbstractOwnCopies


class BiasTuning(AbstractOwnCopies):
    """All biases of the vision tower are trained: of linear layers, convolutions and norms.

    The in-projection of SigLIP's attention pooling is one of them.
    """

    def __init__(self) -> None:
        super().__init__()

    def _names(self, tower: nn.Module) -> list[str]:
        names = [name for name, _ in tower.named_parameters()]
        return [name for name in names if name.rpartition(".")[2] in ("bias", "in_proj_bias")]
