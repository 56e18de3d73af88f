"""Trainable copies of weights of the tower, which take the weights' place in a forward pass."""

from __future__ import annotations

from abc import abstractmethod
from contextlib import ExitStack
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from ..backbones.base import AbstractBackbone
from .base import AbstractVisualTuning


class AbstractOwnCopies(AbstractVisualTuning):
    """Some weights of the tower, copied as float32 and trained; the tower keeps its own.

    A copy stands in the place of the weight only while the module that reads it runs, cast to the
    precision of the tower. So ``state_dict`` and ``requires_grad`` of the tower never change.
    """

    mergeable: ClassVar[bool] = True

    @abstractmethod
    def _names(self, tower: nn.Module) -> list[str]:
        """Which parameters of the tower are copied."""

    def _make(self, backbone: AbstractBackbone, generator: torch.Generator) -> None:
        tower = backbone.vision_tower
        self.copies = nn.ParameterDict()
        for name in self._names(tower):
            self.copies[_key(name)] = tower.get_parameter(name).detach().float().clone()

    def _modify(self, tower: nn.Module, undo: ExitStack) -> None:
        places: dict[nn.Module, list[tuple[nn.Module, str, str]]] = {}
        for name in self._names(tower):
            path, _, entry = name.rpartition(".")
            place = (tower.get_submodule(path), entry, _key(name))
            places.setdefault(_reader(tower, path), []).append(place)
        for reader, entries in places.items():
            enter, leave = self._hooks(entries)
            undo.callback(reader.register_forward_pre_hook(enter).remove)
            undo.callback(reader.register_forward_hook(leave, always_call=True).remove)

    def _hooks(self, entries: list[tuple[nn.Module, str, str]]) -> tuple[Any, Any]:
        """Put the copies in place before a module runs, and the tower's own weights after it."""
        own = [(module, entry, module._parameters[entry]) for module, entry, _ in entries]

        def enter(_reader: nn.Module, _args: tuple[Any, ...]) -> None:
            for (module, entry, weight), (_, _, key) in zip(own, entries, strict=True):
                # Not setattr, which takes nothing but leaves; a cast copy is not a leaf.
                module._parameters[entry] = self.copies[key].to(weight.dtype)  # type: ignore

        def leave(_reader: nn.Module, _args: tuple[Any, ...], _output: Any) -> None:
            for module, entry, weight in own:
                module._parameters[entry] = weight

        return enter, leave

    def _merge(self, tower: nn.Module) -> dict[str, Tensor]:
        return {
            name: self.copies[_key(name)].detach().to(tower.get_parameter(name).dtype, copy=True)
            for name in self._names(tower)
        }


def _key(name: str) -> str:
    """A name with dots as one that torch allows for a parameter."""
    return name.replace(".", "/")


def _reader(tower: nn.Module, path: str) -> nn.Module:
    """The module whose forward reads the weights at `path`."""
    parent = tower.get_submodule(path.rpartition(".")[0])
    # torch's attention never calls its output projection, it reads the weights of it
    return parent if isinstance(parent, nn.MultiheadAttention) else tower.get_submodule(path)
