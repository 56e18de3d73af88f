"""Peft's layers, made for an encoder that is left as it was; peft is imported at the first use."""

from __future__ import annotations

import re
from typing import Any

import torch
from torch import Tensor, nn

from ..core.exceptions import InputError

NOT_FOR_LINEARS = {"adaption_prompt", "ln_tuning", "poly", "shadow", "trainable_tokens", "xlora"}
"""Methods of peft that have target modules, but do not stand around single linear layers."""


def config_class(method: str) -> Any:
    """Peft's configuration class of a method that can be injected into a plain module."""
    from peft.mapping import PEFT_TYPE_TO_CONFIG_MAPPING, PEFT_TYPE_TO_TUNER_MAPPING

    known = {
        str(kind.value).lower(): PEFT_TYPE_TO_CONFIG_MAPPING[kind]
        for kind, tuner in PEFT_TYPE_TO_TUNER_MAPPING.items()
        if not getattr(tuner, "uses_shared_state", False)
    }
    offered = {
        name: kind
        for name, kind in known.items()
        if name not in NOT_FOR_LINEARS and hasattr(kind, "target_modules")
    }
    if method not in offered:
        raise InputError(
            f"unknown method {method!r} for the visual tuning 'lora'; the installed peft offers "
            f"{', '.join(sorted(offered))}"
        )
    return offered[method]


def inject(encoder: nn.Module, config: Any, method: str) -> dict[str, Any]:
    """Peft's layers by the path of the linear they stand for; the encoder is left as it was."""
    from peft import inject_adapter_in_model
    from peft.tuners.tuners_utils import BaseTunerLayer

    frozen = [(parameter, parameter.requires_grad) for parameter in encoder.parameters()]
    targets = _weights_of_targets(encoder, config.target_modules)
    wrappers: dict[str, Any] = {}
    try:
        inject_adapter_in_model(config, encoder)
    except (ValueError, TypeError, NotImplementedError, AttributeError) as error:
        raise InputError(f"peft cannot put {method!r} into this vision tower: {error}") from error
    finally:
        found: list[tuple[str, Any]] = [
            (path, module)
            for path, module in encoder.named_modules()
            if isinstance(module, BaseTunerLayer)
        ]
        for path, layer in found:
            if not any(path.startswith(f"{outer}.") for outer in wrappers):
                wrappers[path] = layer
                replace(encoder, path, layer.base_layer)
                layer.base_layer = None
        encoder.__dict__.pop("peft_config", None)  # the note that peft leaves on a model
        for parameter, flag in frozen:
            parameter.requires_grad_(flag)
        changed = _put_back(targets)
    if changed:
        raise InputError(
            f"these settings of {method!r} change the weights of the vision tower, which stays "
            "frozen; leave out the initialisation in method_params (pissa, olora and the like)"
        )
    return wrappers


def _weights_of_targets(encoder: nn.Module, pattern: str) -> list[tuple[nn.Parameter, Tensor]]:
    """The parameters that peft may write to while it makes its layers, with copies of them."""
    return [
        (parameter, parameter.detach().clone())
        for path, module in encoder.named_modules()
        if re.fullmatch(pattern, path)
        for parameter in module.parameters()
    ]


def _put_back(targets: list[tuple[nn.Parameter, Tensor]]) -> bool:
    """Whether peft changed a weight (PiSSA moves a part of it into its own); undone."""
    changed = [(parameter, was) for parameter, was in targets if not torch.equal(parameter, was)]
    for parameter, was in changed:
        parameter.data = was
    return bool(changed)


def replace(encoder: nn.Module, path: str, module: nn.Module) -> None:
    """Put a module at a path of the encoder, in the place of the one that is there."""
    parent, _, name = path.rpartition(".")
    setattr(encoder.get_submodule(parent), name, module)


def own_parts(wrapper: nn.Module) -> nn.Module:
    """A module that shares everything with peft's layer but the tower's linear."""
    parts = nn.Module()
    for name, child in wrapper.named_children():
        parts.add_module(name, child)
    for name, parameter in wrapper.named_parameters(recurse=False):
        parts.register_parameter(name, parameter)
    return parts


def merge(wrapper: Any, linear: nn.Module, method: str) -> dict[str, Tensor]:
    """Parameters of a linear with peft's layer merged in; the linear itself is left as it was."""
    plain = {name: parameter.data for name, parameter in linear.named_parameters()}
    try:
        for name, data in plain.items():
            linear.get_parameter(name).data = data.clone()
        wrapper.base_layer = linear
        wrapper.merge()
        return {name: parameter.data for name, parameter in linear.named_parameters()}
    except (NotImplementedError, AttributeError, ValueError) as error:
        raise InputError(
            f"peft cannot merge {method!r} into the weights: {error}; "
            "keep it attached for inference"
        ) from error
    finally:
        wrapper.base_layer = None
        wrapper.merged_adapters.clear()
        for name, data in plain.items():
            linear.get_parameter(name).data = data
