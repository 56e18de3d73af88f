"""Find wrong labels in image data sets, and train classifiers that resist them.

The names below are imported at their first use, so that `import labelsieve` is quick.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .core.version import __version__ as __version__

if TYPE_CHECKING:
    from .backbones import load_backbone as load_backbone
    from .core.exceptions import InputError as InputError
    from .core.exceptions import LabelSieveError as LabelSieveError
    from .data import LabeledImages as LabeledImages
    from .data import inject_noise as inject_noise
    from .data import load_images as load_images
    from .detectors import DETECTORS as DETECTORS
    from .detectors import LabelIssues as LabelIssues
    from .losses import LOSSES as LOSSES
    from .losses import make_loss as make_loss
    from .report import write_report as write_report
    from .sieve import LabelSieve as LabelSieve
    from .sieve import scan as scan
    from .tuners import TUNERS as TUNERS
    from .tuners import load_tuner as load_tuner

_HOMES = {
    "DETECTORS": "detectors",
    "InputError": "core.exceptions",
    "LOSSES": "losses",
    "LabelIssues": "detectors",
    "LabelSieve": "sieve",
    "LabelSieveError": "core.exceptions",
    "LabeledImages": "data",
    "TUNERS": "tuners",
    "inject_noise": "data",
    "load_backbone": "backbones",
    "load_images": "data",
    "load_tuner": "tuners",
    "make_loss": "losses",
    "scan": "sieve",
    "write_report": "report",
}

__all__ = [*_HOMES]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *_HOMES]
