"""Arguments that no data can make usable, told before anything is read or encoded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch

from ..core.validation import check_choice, check_number
from ..losses import make_loss
from ..prompts import CLASS_TOKENS, POSITIONS, resolve_templates
from ..visual_tuning import find_visual_tuning
from .plan import TrainingPlan


def check_arguments(estimator: Any) -> None:
    """Check what estimators have in common: training, loss, prompts, visual tuning; None is unset.

    Raises
    ------
    InputError
        With what was given and what is allowed.
    """
    params = {k: v for k, v in estimator.get_params(deep=False).items() if v is not None}
    known = TrainingPlan.__dataclass_fields__.keys() & params.keys()
    if params.get("precision") == "auto":
        known -= {"precision"}
    replace(TrainingPlan(), **{name: params[name] for name in known}).check()
    if "loss" in params:
        loss = make_loss(params["loss"], **params.get("loss_params") or {})
        loss(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64))  # it looks at their values
    if "templates" in params:
        resolve_templates(params["templates"])
    for name, allowed in (("position", POSITIONS), ("class_tokens", CLASS_TOKENS)):
        if name in params:
            check_choice(params[name], allowed, name=name)
    for name in ("shots", "n_context"):
        check_number(params.get(name, 1), name=name, low=1, integer=True)
    if "visual_tuning" in params:
        find_visual_tuning(params["visual_tuning"], params.get("visual_tuning_params"))
