"""Which optimiser fine-tunes which family of image encoders, where the user names none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..core.exceptions import InputError
from .plan import TrainingPlan

_CLIP = {"optimizer": "sgd", "lr": 5e-4, "momentum": 0.9, "weight_decay": 5e-4}
RECIPES: dict[str, dict[str, Any]] = {
    "clip": _CLIP,
    "siglip": _CLIP,
    "vit": {"optimizer": "sgd", "lr": 1e-2, "momentum": 0.0, "weight_decay": 1e-5},
    "resnet": {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 1e-5},
    "convnext": {"optimizer": "adamw", "lr": 1e-4, "weight_decay": 1e-4},
    "vit_mae": {"optimizer": "adamw", "lr": 1e-4, "weight_decay": 1e-3},
}
"""By model type; of DeFT's code (Wei et al., NeurIPS 2024), SigLIP like CLIP by our choice."""

OTHERS: dict[str, Any] = {"optimizer": "adamw", "lr": 1e-4, "weight_decay": 1e-4}
"""For families of which nothing is published with these methods (Swin, DINOv2, …): our choice."""

PARAMETER_EFFICIENT: dict[str, Any] = {**_CLIP, "lr": 0.03}
"""For a vision tower of which only a visual tuning and the head are trained."""


def fine_tuning_plan(
    model_type: str, *, visual_tuning: str = "full", given: dict[str, Any]
) -> TrainingPlan:
    """The given values, and those of the family where none is given; no warm-up of the rate.

    Parameters
    ----------
    model_type : str
        Of the encoder's configuration.
    visual_tuning : str
        "full", or what is trained instead.
    given : dict
        Fields of `TrainingPlan`; None is not given.

    Raises
    ------
    InputError
        If a value cannot be used, or another optimiser is given without its learning rate.

    Examples
    --------
    >>> fine_tuning_plan("convnext", given={"epochs": 5}).lr
    0.0001
    """
    recipe = RECIPES.get(model_type, OTHERS)
    if visual_tuning != "full":
        recipe = PARAMETER_EFFICIENT
    given = {name: value for name, value in given.items() if value is not None}
    if given.get("optimizer", recipe["optimizer"]) != recipe["optimizer"] and "lr" not in given:
        raise InputError(
            f"the learning rate for {model_type} is known for {recipe['optimizer']} only; "
            f"give lr together with optimizer={given['optimizer']!r}"
        )
    plan = replace(TrainingPlan(warmup_epochs=0), **{**recipe, **given})
    plan.check()
    return plan
