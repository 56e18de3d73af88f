"""A `CoOp` that trains on rows which are drawn already, with the plan of a few-shot run."""

from __future__ import annotations

from typing import Any

from ..core.exceptions import InputError
from ..sieve.build import build_estimator
from ..tuners import TUNERS

FEW_SHOT = {"epochs": 50, "batch_size": 32}
"""Of `default_plan` for few shots; `shots` itself is not passed, the rows are drawn before."""

OWN = ("loss", "shots", "random_state", "class_tokens", "visual_tuning", "n_views")
"""Parameters that an analysis sets itself."""


def coop(
    loss: str, class_tokens: str, params: dict[str, Any], *, shots: int | None, seed: int
) -> Any:
    """An unfitted `CoOp`.

    Parameters
    ----------
    loss, class_tokens : str
        What the analysis compares.
    params : dict
        Further constructor arguments.
    shots : int or None
        Whether the rows are few shots.
    seed : int
        Of the training.

    Raises
    ------
    InputError
        If a parameter is unknown to `CoOp`, or is one that the analysis sets.
    """
    if taken := sorted(set(params) & set(OWN)):
        raise InputError(
            f"{', '.join(taken)} cannot be given as a parameter of the tuner: the analysis has "
            "flags of its own for what it varies"
        )
    settings: dict[str, Any] = {} if shots is None else dict(FEW_SHOT)
    settings |= params | {"loss": loss, "class_tokens": class_tokens}
    return build_estimator(TUNERS, "coop", settings, seed)
