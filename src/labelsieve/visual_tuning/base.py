"""The contract of a visual tuning: small float32 parameters that a frozen tower borrows."""

from __future__ import annotations

import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import torch
from torch import Tensor, nn

from ..backbones.base import AbstractBackbone
from ..core.exceptions import InputError, gather
from ..core.serialization import load_tensors, save_tensors
from ..core.validation import check_number
from .blocks import blocks

if TYPE_CHECKING:
    from typing_extensions import Self

_IN_USE = "_labelsieve_visual_tuning"
"""Attribute of a tower while it runs with a tuning: two at once could not be undone one by one."""


class AbstractVisualTuning(nn.Module, ABC):
    """Trainable parameters for a vision tower whose own weights stay frozen and untouched.

    The constructor takes hyper-parameters only, by keyword; `prepare` makes the parameters for one
    tower. The tower is changed only between `attach` and `detach`, and is afterwards what it was
    before, bit for bit. Nothing of the tower is in `state_dict`.

    Notes
    -----
    A subclass sets `mergeable` and `limits`, and implements `_make` and `_modify`; where it is
    mergeable, also `_merge`. Parameters are float32 whatever the precision of the tower,
    and are cast where they are used.

    Attributes
    ----------
    mergeable : bool
        Whether the tuned tower can be written as the plain tower with other weights.
    limits : dict
        Hyper-parameter to (lowest, highest, whether an integer); None is allowed as well where it
        is the default.
    """

    mergeable: ClassVar[bool]
    limits: ClassVar[dict[str, tuple[float, float, bool]]] = {}

    def __init__(self) -> None:
        super().__init__()
        self._shape: tuple[int, int] | None = None
        self._undo: ExitStack | None = None

    @abstractmethod
    def _make(self, backbone: AbstractBackbone, generator: torch.Generator) -> None:
        """Make the parameters for this tower; all draws come from `generator`."""

    @abstractmethod
    def _modify(self, tower: nn.Module, undo: ExitStack) -> None:
        """Make the tower run with the parameters; put the way back on the stack."""

    @classmethod
    def parameter_names(cls) -> list[str]:
        """The hyper-parameters that the constructor takes."""
        return list(inspect.signature(cls.__init__).parameters)[1:]

    def get_params(self) -> dict[str, Any]:
        """The hyper-parameters, by name."""
        return {name: getattr(self, name) for name in self.parameter_names()}

    @property
    def n_parameters(self) -> int:
        """How many numbers are trained."""
        return sum(p.numel() for p in self.parameters() if p.requires_grad)

    def prepare(self, backbone: AbstractBackbone, generator: torch.Generator) -> Self:
        """Make the parameters for the vision tower of `backbone`, float32 on its device.

        Parameters
        ----------
        backbone : AbstractBackbone
            Is not changed and not kept.
        generator : torch.Generator
            The only source of randomness; the global state is left alone.

        Raises
        ------
        InputError
            If hyper-parameters cannot be used, all of them in one message; or if a tuning is
            attached to the tower.
        """
        n_blocks = len(blocks(backbone.vision_tower))
        self.check(n_blocks)
        holder = self if self._undo is not None else backbone.vision_tower.__dict__.get(_IN_USE)
        if holder is not None:
            raise _busy(holder, self)
        with torch.no_grad():
            self._make(backbone, generator)
        self.to(backbone.device).float()
        self._shape = (n_blocks, backbone.pooled_width)
        return self

    def check(self, n_blocks: float = math.inf) -> None:
        """Raise `InputError` with the hyper-parameters that no tower of so many blocks can use."""
        limits = dict(self.limits)
        if "partial" in self.parameter_names():
            limits["partial"] = (1, n_blocks, True)
        defaults = inspect.signature(type(self).__init__).parameters
        problems = []
        for name, (low, high, integer) in limits.items():
            value = getattr(self, name)
            if value is None and defaults[name].default is None:
                continue
            try:
                check_number(value, name=name, low=low, high=high, integer=integer)
            except InputError as error:
                problems.append(str(error))
        gather(problems, what=type(self).__name__)

    @contextmanager
    def attached(self, backbone: AbstractBackbone) -> Iterator[Self]:
        """The tower runs with the parameters inside the block, and is as before after it."""
        self.attach(backbone)
        try:
            yield self
        finally:
            self.detach(backbone)

    def attach(self, backbone: AbstractBackbone) -> None:
        """Make the tower of `backbone` run with the parameters, until `detach`.

        Raises
        ------
        InputError
            If there are no parameters yet, they belong to a tower of another shape, or the tower
            already runs with a tuning.
        """
        with ExitStack() as undo:
            tower = self._claim(backbone, undo)
            self._modify(tower, undo)
            self._undo = undo.pop_all()

    def detach(self, backbone: AbstractBackbone) -> None:
        """Give the tower back as it was before `attach`."""
        if self._undo is None or backbone.vision_tower.__dict__.get(_IN_USE) is not self:
            raise InputError(f"{type(self).__name__} is not attached to this backbone")
        undo, self._undo = self._undo, None
        undo.close()

    def _claim(self, backbone: AbstractBackbone, undo: ExitStack) -> nn.Module:
        """The tower, marked as in use until the stack is closed."""
        name, tower = type(self).__name__, backbone.vision_tower
        if self._shape is None:
            raise InputError(f"{name} has no parameters yet; call prepare first")
        shape = (len(blocks(tower)), backbone.pooled_width)
        if shape != self._shape:
            raise InputError(
                f"{name} was prepared for a tower of {self._shape[0]} blocks of width "
                f"{self._shape[1]}, but this one has {shape[0]} of width {shape[1]}"
            )
        holder = tower.__dict__.get(_IN_USE, self if self._undo is not None else None)
        if holder is not None:
            raise _busy(holder, self)
        tower.__dict__[_IN_USE] = self  # not setattr, which would make it a part of the tower
        undo.callback(tower.__dict__.pop, _IN_USE)
        return tower

    def merged_weights(self, backbone: AbstractBackbone) -> dict[str, Tensor]:
        """The tower's entries that differ once the parameters are merged into them.

        Returns
        -------
        dict of str to Tensor
            Keys of the vision tower's `state_dict`, values in the tower's precision.

        Raises
        ------
        InputError
            If the method is not mergeable.
        """
        with ExitStack() as undo, torch.no_grad():
            return self._merge(self._claim(backbone, undo))

    def _merge(self, tower: nn.Module) -> dict[str, Tensor]:
        """What `merged_weights` returns, for a tower that runs with nothing else."""
        raise InputError(
            f"{type(self).__name__} cannot be merged into the weights of the vision tower; "
            "keep it attached for inference"
        )

    @contextmanager
    def merged(self, backbone: AbstractBackbone) -> Iterator[Self]:
        """The tower has the merged weights inside the block: no extra work in a forward pass.

        For inference: nothing is trained through it. Equal to `attached` up to rounding in the
        tower's precision.
        """
        weights = self.merged_weights(backbone)
        with ExitStack() as undo:
            tower = self._claim(backbone, undo)
            for name, weight in weights.items():
                parameter = tower.get_parameter(name)
                undo.callback(setattr, parameter, "data", parameter.data)
                parameter.data = weight
            yield self

    def save(self, path: Path | str) -> None:
        """Write the parameters, without anything of the tower, as safetensors."""
        save_tensors(path, self.state_dict())

    def load(self, path: Path | str) -> Self:
        """Read parameters that `save` wrote into a tuning prepared with the same settings.

        Raises
        ------
        InputError
            If there are no parameters yet, or the file does not hold exactly these.
        """
        if self._shape is None:
            raise InputError(f"{type(self).__name__} has no parameters yet; call prepare first")
        try:
            self.load_state_dict(load_tensors(path), strict=True)
        except RuntimeError as error:
            raise InputError(
                f"{path} does not fit {type(self).__name__} with {self.get_params()}: {error}"
            ) from error
        return self


def _busy(holder: object, asking: object) -> InputError:
    names = type(holder).__name__, type(asking).__name__
    return InputError("{} is already attached; detach it before using {}".format(*names))
