"""AdaptFormer (Chen et al., NeurIPS 2022): a scaled bottleneck beside the MLP of each block."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..backbones.base import AbstractBackbone
from .base import AbstractVisualTuning
from .blocks import chosen
from .bottleneck import Bottleneck


class AdaptFormer(AbstractVisualTuning):
    """MLP(x) becomes MLP(x) + s up(relu(down(x))), x being the layer-normed input of the MLP.

    That is equation 3 of the paper, where the branch reads the same normed input as the MLP.

    Parameters
    ----------
    bottleneck : int
        Width b: 2 W b + W + b trained numbers a block.
    scale : float
        The factor s; 0.1 in the paper.
    partial : int, optional
        Only the last `partial` blocks get a branch; default is all.
    """

    mergeable: ClassVar[bool] = False
    limits: ClassVar[dict[str, tuple[float, float, bool]]] = {
        "bottleneck": (1, math.inf, True),
        "scale": (1e-6, math.inf, False),
    }

    def __init__(self, *, bottleneck: int = 64, scale: float = 0.1, partial: int | None = None):
        super().__init__()
        self.bottleneck = bottleneck
        self.scale = scale
        self.partial = partial

    def _make(self, backbone: AbstractBackbone, generator: torch.Generator) -> None:
        width = backbone.pooled_width
        self.layers = nn.ModuleDict(
            {
                name: Bottleneck(width, self.bottleneck, normal=False, generator=generator)
                for name in chosen(backbone.vision_tower, self.partial)
            }
        )

    def _modify(self, tower: nn.Module, undo: ExitStack) -> None:
        for name, block in chosen(tower, self.partial).items():
            hook = self._beside(self.layers[name])
            undo.callback(block.get_submodule("mlp").register_forward_hook(hook).remove)

    def _beside(self, branch: nn.Module) -> Any:
        def hook(_mlp: nn.Module, args: tuple[Any, ...], output: Tensor) -> Tensor:
            return output + (self.scale * branch(args[0])).to(output.dtype)

        return hook
