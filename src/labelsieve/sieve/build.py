"""Estimators by name, with the arguments they accept."""

from __future__ import annotations

from typing import Any

from ..core.exceptions import InputError
from ..core.registry import Registry


def build_estimator(
    registry: Registry, name: str, params: dict[str, Any] | None, random_state: int
) -> Any:
    """An unfitted estimator by name, with our seed where it takes one.

    Raises
    ------
    InputError
        If the name or an argument is unknown, or `params` is no mapping; the message
        lists what is allowed.
    """
    estimator = registry.get(name)()
    if not isinstance(params or {}, dict) or not all(isinstance(key, str) for key in params or ()):
        raise InputError(
            f"the parameters of {registry.kind} {name!r} must be a mapping from names to values, "
            f"not {params!r}"
        )
    allowed = set(estimator.get_params(deep=False)) - {"backbone", "class_names"}
    unknown = sorted(set(params or {}) - allowed)
    if unknown:
        hint = ""
        if "visual_tuning" in unknown and registry.kind == "detector":
            hint = ". The encoder is adapted by the detector dual-prompts (--detector dual-prompts)"
        if "loss" in unknown and "baseline" in allowed:
            hint = ". Its losses are baselines (--param baseline=gce)"
        raise InputError(
            f"{registry.kind} {name!r} has no parameter {', '.join(unknown)}; "
            f"it takes {', '.join(sorted(allowed)) or 'none'}{hint}"
        )
    if "random_state" in allowed:
        estimator.set_params(random_state=random_state)
    estimator.set_params(**(params or {}))
    estimator.check()  # it would otherwise be looked at after hours of encoding
    return estimator
