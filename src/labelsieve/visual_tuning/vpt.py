"""Visual prompt tuning (Jia et al., ECCV 2022): free tokens beside the patch tokens."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..backbones.base import AbstractBackbone
from .base import AbstractVisualTuning
from .blocks import blocks, last


class AbstractVPT(AbstractVisualTuning):
    """Prompts stand after the patch tokens and are taken out again after the last block.

    So the class token of CLIP stays in row 0, and the attention pooling of SigLIP sees the patches
    only. Prompts have no position embedding, as in the paper.

    Attributes
    ----------
    prompts : Parameter
        Shape (blocks, P, W), drawn uniformly from +-sqrt(6 / (3 p^2 + W)) for patches of side p:
        Xavier's bound for the patch embedding, as in the paper's code.
    """

    mergeable: ClassVar[bool] = False
    limits: ClassVar[dict[str, tuple[float, float, bool]]] = {"n_prompts": (1, math.inf, True)}
    n_prompts: int
    prompts: nn.Parameter

    def _fresh_blocks(self, n_blocks: int) -> list[int]:
        """Which blocks get prompts of their own, in order."""
        raise NotImplementedError

    def _make(self, backbone: AbstractBackbone, generator: torch.Generator) -> None:
        tower = backbone.vision_tower
        width = backbone.pooled_width
        n_fresh = len(self._fresh_blocks(len(blocks(tower))))
        drawn = torch.rand(
            n_fresh, self.n_prompts, width, generator=generator, device=generator.device
        )
        bound = math.sqrt(6 / (3 * tower.config.patch_size**2 + width))
        self.prompts = nn.Parameter((2 * drawn - 1) * bound)

    def _modify(self, tower: nn.Module, undo: ExitStack) -> None:
        layers = blocks(tower)
        for at, block in enumerate(self._fresh_blocks(len(layers))):
            hook = layers[block].register_forward_pre_hook(self._before(at))
            undo.callback(hook.remove)
        undo.callback(layers[-1].register_forward_hook(self._after).remove)

    def _before(self, at: int) -> Any:
        """A hook that appends prompts `at`, in place of earlier ones."""

        def hook(_module: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
            hidden = args[0] if at == 0 else args[0][:, : -self.n_prompts]
            rows = self.prompts[at].to(hidden.dtype).expand(hidden.shape[0], -1, -1)
            return (torch.cat([hidden, rows], dim=1), *args[1:])

        return hook

    def _after(self, _module: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor:
        return output[:, : -self.n_prompts]


class VPTShallow(AbstractVPT):
    """Prompts enter before the first block and pass through all of them.

    Parameters
    ----------
    n_prompts : int
        Number P of prompts: P x W trained numbers.
    """

    def __init__(self, *, n_prompts: int = 20):
        super().__init__()
        self.n_prompts = n_prompts

    def _fresh_blocks(self, n_blocks: int) -> list[int]:
        return [0]


class VPTDeep(AbstractVPT):
    """Every block gets fresh prompts, which replace those that come out of the block before.

    Parameters
    ----------
    n_prompts : int
        Number P of prompts in each block: blocks x P x W trained numbers.
    partial : int, optional
        Only the last `partial` blocks get prompts; default is all.
    """

    def __init__(self, *, n_prompts: int = 20, partial: int | None = None):
        super().__init__()
        self.n_prompts = n_prompts
        self.partial = partial

    def _fresh_blocks(self, n_blocks: int) -> list[int]:
        return last(n_blocks, self.partial)
