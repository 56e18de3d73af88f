"""SSF (Lian et al., NeurIPS 2022): scale and shift the output of every linear layer."""

from __future__ import annotations

import math
from contextlib import ExitStack
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..backbones.base import AbstractBackbone
from .base import AbstractVisualTuning
from .blocks import chosen

LINEARS = (
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.out_proj",
    "mlp.fc1",
    "mlp.fc2",
)


class SSF(AbstractVisualTuning):
    """The output y of a linear layer becomes scale * y + shift, entry by entry.

    Merged, the layer has weights scale W and bias scale b + shift: nothing is left to compute.

    Parameters
    ----------
    init_std : float
        Scales are drawn from N(1, std^2) and shifts from N(0, std^2). With the paper's 0.02 the
        tuned tower starts a little off the plain one; with 0 it starts equal.
    partial : int, optional
        Only the linear layers of the last `partial` blocks; default is all.

    Notes
    -----
    For width W and MLP width H each block has 2 (5 W + H) trained numbers.
    """

    mergeable: ClassVar[bool] = True
    limits: ClassVar[dict[str, tuple[float, float, bool]]] = {"init_std": (0, math.inf, False)}

    def __init__(self, *, init_std: float = 0.02, partial: int | None = None):
        super().__init__()
        self.init_std = init_std
        self.partial = partial

    def _make(self, backbone: AbstractBackbone, generator: torch.Generator) -> None:
        self.scale, self.shift = nn.ParameterDict(), nn.ParameterDict()
        for path, layer in self._linears(backbone.vision_tower).items():
            shape = (2, len(layer.get_parameter("weight")))
            drawn = torch.randn(shape, generator=generator, device=generator.device)
            scale, shift = self.init_std * drawn
            self.scale[_key(path)], self.shift[_key(path)] = 1 + scale, shift.clone()

    def _linears(self, tower: nn.Module) -> dict[str, nn.Module]:
        """The layers that are scaled, by their path in the tower."""
        return {
            f"encoder.layers.{number}.{name}": block.get_submodule(name)
            for number, block in chosen(tower, self.partial).items()
            for name in LINEARS
        }

    def _modify(self, tower: nn.Module, undo: ExitStack) -> None:
        for path, layer in self._linears(tower).items():
            undo.callback(layer.register_forward_hook(self._after(_key(path))).remove)

    def _after(self, key: str) -> Any:
        def hook(_linear: nn.Module, _args: tuple[Any, ...], output: Tensor) -> Tensor:
            return output * self.scale[key].to(output.dtype) + self.shift[key].to(output.dtype)

        return hook

    def _merge(self, tower: nn.Module) -> dict[str, Tensor]:
        """Computed in float32, then cast."""
        merged = {}
        for path, layer in self._linears(tower).items():
            weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
            scale, shift = self.scale[_key(path)], self.shift[_key(path)]
            merged[f"{path}.weight"] = (scale[:, None] * weight.float()).to(weight.dtype)
            merged[f"{path}.bias"] = (scale * bias.float() + shift).to(bias.dtype)
        return merged


def _key(path: str) -> str:
    """A path as a name that torch allows for a parameter."""
    return path.replace(".", "/")
