"""What was run, beside the results and at the foot of their page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.serialization import write_json
from ..core.version import __version__
from .folder import RUN_FILE


def write_record(
    folder: Path, *, command: str, seeds: list[int], settings: dict[str, Any]
) -> dict[str, str]:
    """Write analysis.json and return the same facts in words, for the page.

    Parameters
    ----------
    folder : Path
        Output folder.
    command : str
        What was typed.
    seeds : list of int
        All seeds that decided something.
    settings : dict
        Resolved arguments, as JSON values.
    """
    import torch

    versions = {"labelsieve": __version__, "torch": torch.__version__}
    write_json(
        folder / RUN_FILE,
        {"command": command, "seeds": seeds, "settings": settings, "versions": versions},
    )
    number = "1 seed" if len(seeds) == 1 else f"{len(seeds)} seeds"
    facts = {"seeds": f"{number}: {', '.join(map(str, seeds))}"}
    facts |= {name.replace("_", " "): _in_words(value) for name, value in settings.items()}
    facts |= {"versions": ", ".join(f"{name} {value}" for name, value in versions.items())}
    return ({"command": command} if command else {}) | facts


def _in_words(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(f"{item:g}" if isinstance(item, float) else str(item) for item in value)
    return str(value)
