"""The methods of a suite: which there are, their resolved parameters, and building them."""

from __future__ import annotations

from typing import Any

from ..core.exceptions import LabelSieveError
from ..core.registry import Registry
from ..detectors import DETECTORS
from ..losses import LOSSES
from ..sieve.build import build_estimator
from ..tuners import TUNERS
from ..tuners.baseline import SELECTIONS
from .suite import DataSpec, MethodSpec

PEERS = Registry("peer", {"cleanlab": "labelsieve.bench.peers:Cleanlab"})
"""Other packages, measured in the same way."""

METHOD_KINDS = ("detector", "tuner", "adapt", "peer")
REGISTRIES = {"detector": DETECTORS, "tuner": TUNERS, "peer": PEERS}
NOISE_RATE = "$noise_rate"
"""A parameter with this value gets the true noise rate, as some papers give it to a baseline."""

_STAND_IN = 0.5
"""What parameters are checked with that wait for a figure of the cell."""

_OURS = ("backbone", "class_names", "random_state")


def build_method(method: MethodSpec, data: DataSpec | None, *, seed: int = 0, **known: Any) -> Any:
    """The unfitted estimator of a method.

    Parameters
    ----------
    method : MethodSpec
    data : DataSpec or None
        Its templates are for methods that take some and are not told otherwise.
    seed : int
    **known
        Values for parameters given as ``$name``.

    Raises
    ------
    InputError
        If the name or a parameter is unknown.
    """
    waiting = {k: v for k, v in method.params.items() if is_known(v)}
    params = method.params | {k: known.get(v[1:], _STAND_IN) for k, v in waiting.items()}
    waiting = {k: v for k, v in waiting.items() if v[1:] not in known}
    if method.kind == "adapt":
        params = {"baseline": method.method} | params
        return build_estimator(TUNERS, "fft", params, seed).set_params(**waiting)
    estimator = build_estimator(REGISTRIES[method.kind], method.method, params, seed)
    estimator.set_params(**waiting)
    takes = "templates" in estimator.get_params(deep=False) and "templates" not in params
    if data is not None and data.templates is not None and takes:
        estimator.set_params(templates=data.templates)
    return estimator


def is_known(value: Any) -> bool:
    """Whether a parameter waits for a figure of the cell."""
    return value == NOISE_RATE


def resolved(method: MethodSpec, data: DataSpec) -> dict[str, Any]:
    """All that decides what the method does, defaults included."""
    params = build_method(method, data).get_params(deep=False)
    return {
        "kind": method.kind,
        "name": method.method,
        "params": {k: v for k, v in params.items() if k not in _OURS or k in method.params},
        "relabel": method.relabel,
        "backbone": method.backbone,
    }


def check_method(method: MethodSpec) -> list[tuple[str, str]]:
    """Problems of name and parameters, as (key, what is wrong)."""
    if method.kind == "adapt":
        allowed = sorted({*LOSSES.names(), *SELECTIONS})
        if method.method not in allowed:
            return [
                ("adapt", f"unknown baseline {method.method!r}; choose one of {', '.join(allowed)}")
            ]
    elif method.method not in REGISTRIES[method.kind].entries:
        try:
            REGISTRIES[method.kind].get(method.method)
        except LabelSieveError as error:
            return [(method.kind, str(error))]
    try:
        build_method(method, None)
    except LabelSieveError as error:
        return [("params", str(error))]
    return []


def uses_pixels(estimator: Any) -> bool:
    """Whether a method looks at images, beyond their features."""
    params = estimator.get_params(deep=False)
    many_views = (params.get("n_views") or 1) > 1
    return params.get("visual_tuning", "none") != "none" or many_views
