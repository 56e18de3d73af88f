"""LoRA (Hu et al., ICLR 2022) and its relatives, as peft implements them."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..backbones.base import AbstractBackbone
from ..core.exceptions import InputError
from .base import AbstractVisualTuning
from .blocks import last
from .peft_layers import config_class, inject, merge, own_parts, replace

OURS = {"target_modules", "bias", "modules_to_save", "task_type", "inference_mode", "peft_type"}
"""Fields of peft's configurations that are not for `method_params`."""

DEFAULT_TARGETS = {"ia3": ("k_proj", "v_proj", "fc2")}
DEFAULT_PARAMS: dict[str, dict[str, Any]] = {
    "ia3": {"feedforward_modules": r".*\.fc2"},
    "oft": {"oft_block_size": 0},  # r then counts the blocks
}


class LoRA(AbstractVisualTuning):
    """Low-rank updates of linear layers: x W + (alpha / r) x A B, with B zero at the start.

    peft makes its layers once, in `prepare`; only their trainable parts are kept here, and the
    layers stand around the tower's linears while attached.

    Parameters
    ----------
    r : int
        Rank of the update, where the method has one.
    alpha : float, optional
        The update is scaled by alpha / r; default is r, a scale of 1. (The code of DeFT scales by
        1 / r, but draws A about ten times wider than peft does; a scale of 1 comes closest.)
    target_modules : sequence of str, optional
        Linear layers of a block: ``q_proj``, ``k_proj``, ``v_proj``, ``out_proj``, ``fc1``,
        ``fc2``. Default is q_proj and v_proj; for ia3 k_proj, v_proj and fc2, as in its paper.
    method : str
        "lora", or another method of peft that can be injected: "loha", "lokr", "ia3", "oft", ...
    method_params : dict, optional
        Further fields of peft's configuration of the method, such as ``{"use_rslora": True}``.
    partial : int, optional
        Only the last `partial` blocks are tuned; default is all.
    """

    mergeable: ClassVar[bool] = True
    limits: ClassVar[dict[str, tuple[float, float, bool]]] = {
        "r": (1, math.inf, True),
        "alpha": (1e-6, math.inf, False),
    }

    def __init__(
        self,
        *,
        r: int = 8,
        alpha: float | None = None,
        target_modules: Sequence[str] | None = None,
        method: str = "lora",
        method_params: dict[str, Any] | None = None,
        partial: int | None = None,
    ):
        super().__init__()
        self.r = r
        self.alpha = alpha
        self.target_modules = target_modules
        self.method = method
        self.method_params = method_params
        self.partial = partial
        self._wrappers: dict[str, Any] = {}

    def check(self, n_blocks: float = math.inf) -> None:
        """See `AbstractVisualTuning.check`; peft's methods are another thing to get wrong."""
        super().check(n_blocks)
        config_class(self.method)

    def _make(self, backbone: AbstractBackbone, generator: torch.Generator) -> None:
        encoder = backbone.vision_tower.get_submodule("encoder")
        seed = torch.randint(2**63 - 1, (), generator=generator, device=generator.device)
        with torch.random.fork_rng(devices=[]):  # peft draws on the CPU, from the global state
            torch.default_generator.manual_seed(int(seed))
            self._wrappers = inject(encoder, self._config(encoder), self.method)
        parts = {
            f"encoder.{path}".replace(".", "/"): own_parts(wrapper)
            for path, wrapper in self._wrappers.items()
        }
        self.layers = nn.ModuleDict(parts)
        self.train(self.training)

    def _config(self, encoder: nn.Module) -> Any:
        """Peft's configuration: ours, its defaults, `method_params` last."""
        kind = config_class(self.method)
        fields = {field.name for field in dataclasses.fields(kind) if field.init} - OURS
        given = dict(self.method_params or {})
        unknown = sorted(set(given) - fields)
        if unknown:
            raise InputError(
                f"method_params of {self.method!r} has no {', '.join(unknown)}; "
                f"peft's {kind.__name__} takes {', '.join(sorted(fields))}"
            )
        alpha = self.r if self.alpha is None else self.alpha
        sizes = {"r": self.r, "alpha": alpha, "lora_alpha": alpha}
        known = {name: value for name, value in sizes.items() if name in fields}
        values = {**known, **DEFAULT_PARAMS.get(self.method, {}), **given}
        targets = self._targets(encoder)
        try:
            return kind(target_modules=targets, **values)
        except (TypeError, ValueError) as error:
            raise InputError(f"peft refuses the settings of {self.method!r}: {error}") from error

    def _targets(self, encoder: nn.Module) -> str:
        """A pattern for the names of the targets below the encoder."""
        targets = self.target_modules or DEFAULT_TARGETS.get(self.method, ("q_proj", "v_proj"))
        layers = encoder.get_submodule("layers")
        offered = {
            name.rpartition(".")[2]
            for name, module in layers.get_submodule("0").named_modules()
            if isinstance(module, nn.Linear)
        }
        targets = [targets] if isinstance(targets, str) else list(targets)
        if wrong := sorted(set(targets) - offered):
            raise InputError(
                f"target_modules has {', '.join(wrong)}; "
                f"a block has the linear layers {', '.join(sorted(offered))}"
            )
        numbers = last(len(list(layers.children())), self.partial)
        return (
            rf"layers\.({'|'.join(map(str, numbers))})\..*\.({'|'.join(map(re.escape, targets))})"
        )

    def train(self, mode: bool = True) -> LoRA:
        """Training mode of peft's layers as well, which their dropout follows; not of the tower."""
        for wrapper in getattr(self, "_wrappers", {}).values():
            wrapper.training = mode
        return super().train(mode)

    def _modify(self, tower: nn.Module, undo: ExitStack) -> None:
        encoder = tower.get_submodule("encoder")
        for path, wrapper in self._wrappers.items():
            undo.callback(setattr, wrapper, "base_layer", None)
            wrapper.base_layer = encoder.get_submodule(path)
            undo.callback(replace, encoder, path, wrapper.base_layer)
            replace(encoder, path, wrapper)

    def _merge(self, tower: nn.Module) -> dict[str, Tensor]:
        return {
            f"encoder.{path}.{name}": weight
            for path, wrapper in self._wrappers.items()
            for name, weight in merge(
                wrapper, tower.get_submodule(f"encoder.{path}"), self.method
            ).items()
        }
