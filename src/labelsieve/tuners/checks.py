"""Arguments that no data can make usable, told before anything is read or encoded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ..losses import make_loss
from ..visual_tuning import find_visual_tuning
from .plan import TrainingPlan


def check_arguments(estimator: Any) -> None:
    """Check what estimators have in common: training, loss and visual tuning; None is not given.

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
        make_loss(params["loss"], **params.get("loss_params") or {})
    if "visual_tuning" in params:
        find_visual_tuning(params["visual_tuning"], params.get("visual_tuning_params"))
