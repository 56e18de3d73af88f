"""Adapters in sequence (Houlsby et al., ICML 2019), after the MLP of each block."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from ..backbones.base import AbstractBackbone
from .base import AbstractVisualTuning
from .blocks import chosen
from .bottleneck import Bottleneck


class Adapter(AbstractVisualTuning):
    """The output x of each MLP becomes x + up(relu(down(LN(x)))).

    The skip matters: without it (as in the code published with DeFT) a zero `up` switches every
    MLP off at the start. With it the tuned tower starts as the plain one.

    Parameters
    ----------
    bottleneck : int
        Width b: 2 W b + 3 W + b trained numbers a block, with the norm's 2 W.
    partial : int, optional
        Only the last `partial` blocks get an adapter; default is all.
    """

    mergeable: ClassVar[bool] = False
    limits: ClassVar[dict[str, tuple[float, float, bool]]] = {"bottleneck": (1, math.inf, True)}

    def __init__(self, *, bottleneck: int = 64, partial: int | None = None):
        super().__init__()
        self.bottleneck = bottleneck
        self.partial = partial

    def _make(self, backbone: AbstractBackbone, generator: torch.Generator) -> None:
        width = backbone.pooled_width
        names = chosen(backbone.vision_tower, self.partial)
        self.layers = nn.ModuleDict(
            {name: _NormedBottleneck(width, self.bottleneck, generator) for name in names}
        )

    def _modify(self, tower: nn.Module, undo: ExitStack) -> None:
        for name, block in chosen(tower, self.partial).items():
            hook = _after(self.layers[name])
            undo.callback(block.get_submodule("mlp").register_forward_hook(hook).remove)


class _NormedBottleneck(nn.Module):
    def __init__(self, width: int, size: int, generator: torch.Generator):
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.bottleneck = Bottleneck(width, size, normal=True, generator=generator)

    def forward(self, x: Tensor) -> Tensor:
        weight, bias = self.norm.weight.to(x.dtype), self.norm.bias.to(x.dtype)
        return self.bottleneck(layer_norm(x, weight.shape, weight, bias, self.norm.eps))


def _after(adapter: nn.Module) -> Any:
    def hook(_mlp: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor:
        return output + adapter(output).to(output.dtype)

    return hook
