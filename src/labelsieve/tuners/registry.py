"""The names of the tuners."""

from __future__ import annotations

from ..core.registry import Registry

TUNERS = Registry(
    "tuner",
    {
        "zero-shot": "labelsieve.tuners.zero_shot:ZeroShot",
        "coop": "labelsieve.tuners.coop:CoOp",
    },
)
