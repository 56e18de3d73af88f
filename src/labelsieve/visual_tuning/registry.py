"""The names of the visual tunings."""

from __future__ import annotations

from typing import Any

import torch

from ..backbones.base import AbstractBackbone
from ..core.exceptions import InputError
from ..core.registry import Registry
from .base import AbstractVisualTuning

NONE = None
"""What the name "none" stands for: the tower as it is."""

_HERE = "labelsieve.visual_tuning"
VISUAL_TUNINGS = Registry(
    "visual tuning",
    {
        "none": f"{_HERE}.registry:NONE",
        "vpt-shallow": f"{_HERE}.vpt:VPTShallow",
        "vpt-deep": f"{_HERE}.vpt:VPTDeep",
        "lora": f"{_HERE}.lora:LoRA",
        "adapter": f"{_HERE}.adapter:Adapter",
        "adaptformer": f"{_HERE}.adaptformer:AdaptFormer",
        "ssf": f"{_HERE}.ssf:SSF",
        "bias": f"{_HERE}.bias:BiasTuning",
        "full": f"{_HERE}.full:FullTuning",
    },
)


def make_visual_tuning(
    name: str,
    backbone: AbstractBackbone,
    *,
    generator: torch.Generator,
    params: dict[str, Any] | None = None,
) -> AbstractVisualTuning | None:
    """A visual tuning by name, with parameters made for the vision tower of `backbone`.

    Parameters
    ----------
    name : str
        One of `VISUAL_TUNINGS.names()`.
    backbone : AbstractBackbone
        Is not changed; attach the tuning to make its tower run with it.
    generator : torch.Generator
        The only source of randomness.
    params : dict, optional
        Hyper-parameters of the method, such as ``{"n_prompts": 10}``.

    Returns
    -------
    AbstractVisualTuning or None
        None for the name "none".

    Raises
    ------
    InputError
        If the name, a hyper-parameter or its value is not allowed.

    Examples
    --------
    >>> import torch
    >>> from labelsieve.backbones import load_backbone
    >>> backbone = load_backbone("mini-glyph", device="cpu")
    >>> seed = torch.Generator().manual_seed(0)
    >>> tuning = make_visual_tuning("vpt-deep", backbone, generator=seed)
    >>> with tuning.attached(backbone):
    ...     tuned = backbone.encode_images(torch.zeros(1, 3, 32, 32))  # doctest: +SKIP
    """
    method = find_visual_tuning(name, params)
    return None if method is None else method(**(params or {})).prepare(backbone, generator)


def find_visual_tuning(
    name: str, params: dict[str, Any] | None
) -> type[AbstractVisualTuning] | None:
    """The class behind a name, None for "none"; needs no backbone, so it can be asked early.

    Raises
    ------
    InputError
        If the name or that of a hyper-parameter is unknown.
    """
    method = VISUAL_TUNINGS.get(name)
    allowed = method.parameter_names() if method else []
    if not isinstance(params, dict | None):
        raise InputError(
            f"the parameters of a visual tuning are a mapping such as {{n_prompts: 10}}, "
            f"not {params!r}"
        )
    unknown = sorted(set(params or {}) - set(allowed))
    if unknown:
        raise InputError(
            f"visual tuning {name!r} has no parameter {', '.join(unknown)}; "
            f"it takes {', '.join(allowed) or 'none'}"
        )
    return method
