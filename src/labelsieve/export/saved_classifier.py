"""What the folder of a saved classifier holds, read without its model."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ..core.exceptions import InputError
from ..core.serialization import read_json


def saved_classifier(source: Path) -> tuple[Path, dict[str, Any]]:
    """The folder of a classifier and its configuration; ``model/`` of the folder of a scan.

    Parameters
    ----------
    source : Path
        What `labelsieve tune`, `adapt` or `scan` wrote.

    Raises
    ------
    InputError
        If it holds no classifier.
    """
    for folder in (source, source / "model"):
        if (folder / "config.json").is_file():
            config = read_json(folder / "config.json")
            if isinstance(config, dict) and "tuner" in config and "class_names" in config:
                return folder, config
    raise InputError(
        f"{source} holds no saved classifier; give the folder that `labelsieve tune`, `adapt` or "
        "`scan` wrote"
    )


def origin_of(config: dict[str, Any]) -> dict[str, Any]:
    """What every exported file says of its origin."""
    return {
        "labelsieve": config["labelsieve"],
        "tuner": config["tuner"],
        "model": {"id": config["model"]["id"], "commit": config["model"]["commit"]},
        "class_names": config["class_names"],
    }
