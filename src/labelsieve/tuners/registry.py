"""The names of the tuners."""

from __future__ import annotations

from ..core.registry import Registry

TUNERS = Registry(
    "tuner",
    {
        "zero-shot": "labelsieve.tuners.zero_shot:ZeroShot",
        "coop": "labelsieve.tuners.coop:CoOp",
        "fft": "labelsieve.tuners.fine_tune:FineTune",
        "vpt": "labelsieve.tuners.paradigms:vpt",
        "vlpt": "labelsieve.tuners.paradigms:vlpt",
    },
)
