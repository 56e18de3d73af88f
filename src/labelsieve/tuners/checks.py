"""Arguments that no data can make usable, told before anything is read or encoded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ..core.exceptions import InputError
from ..core.validation import check_choice, check_number
from ..losses import make_loss
from ..prompts import CLASS_TOKENS, POSITIONS, resolve_templates
from ..prompts.learner import check_context
from ..visual_tuning import find_visual_tuning
from .plan import TrainingPlan


def check_arguments(estimator: Any, *, precision: str | None = None) -> None:
    """Check what estimators have in common; None is not given.

    That is training, seed, shots, loss, prompts and visual tuning.

    Parameters
    ----------
    estimator : AbstractTuner or AbstractDetector
        Has the arguments.
    precision : str, optional
        In place of its own, for one that resolves "auto".

    Raises
    ------
    InputError
        With what was given and what is allowed.
    """
    given = estimator.get_params(deep=False)
    params = {k: v for k, v in given.items() if v is not None}
    if precision is not None:
        params["precision"] = precision
    known = TrainingPlan.__dataclass_fields__.keys() & params.keys()
    replace(TrainingPlan(), **{name: params[name] for name in known}).check()
    if "random_state" in given:
        # No generator: a seed is kept, and every epoch of a training starts from it.
        check_number(given["random_state"], name="random_state", low=0, integer=True)
    if "n_context" in given:
        check_context(given.get("initial_text"), given["n_context"])
    if "loss" in params:
        named = params.get("loss_params", {})
        if not isinstance(named, dict) or not all(isinstance(name, str) for name in named):
            raise InputError(f"loss_params must be a mapping such as {{q: 0.5}}, not {named!r}")
        loss = make_loss(params["loss"], **named)
        loss(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))  # it looks at their values
    if "templates" in given:
        resolve_templates(given["templates"])
    for name, allowed in (("position", POSITIONS), ("class_tokens", CLASS_TOKENS)):
        if name in params:
            check_choice(params[name], allowed, name=name)
    check_number(params.get("shots", 1), name="shots", low=1, integer=True)
    if "visual_tuning" in params:
        tuning = find_visual_tuning(params["visual_tuning"], params.get("visual_tuning_params"))
        if tuning is not None:
            tuning(**params.get("visual_tuning_params", {})).check()
