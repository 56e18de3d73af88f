"""What was run, on which data, with which versions: enough to run it again."""

from __future__ import annotations

import json
from typing import Any

from .formats import seconds
from .scan_folder import ScanResult, is_number

Facts = list[tuple[str, str]]


def data_facts(scan: ScanResult) -> dict[str, Any]:
    """Where the data came from and how it was read, as name-value pairs."""
    data = _mapping(scan.run, "data")
    source = str(data.get("source") or "")
    facts = [(_title(key), plain(value)) for key, value in data.items() if value is not None]
    short = source.replace("\\", "/").rstrip("/").rpartition("/")[2]
    return {"name": short or scan.folder.resolve().name, "facts": facts}


def run_facts(scan: ScanResult) -> dict[str, Any]:
    """Command, model, seed, versions, timings and configuration."""
    run = scan.run
    model = _mapping(run, "model")
    facts: Facts = [
        ("labelsieve", plain(run.get("labelsieve"))),
        ("Model", plain(model.get("id"))),
        ("Model commit", plain(model.get("commit"))),
        ("Seed", plain(run.get("seed"))),
    ]
    timings = [
        (str(stage), float(spent))
        for stage, spent in _mapping(run, "timings").items()
        if is_number(spent)
    ]
    command = run.get("command")
    config = run.get("config")
    return {
        "command": command if isinstance(command, str) and command.strip() else None,
        "facts": [(name, value) for name, value in facts if value],
        "versions": [(str(k), plain(v)) for k, v in _mapping(run, "versions").items()],
        "timings": [(stage, seconds(spent)) for stage, spent in timings],
        "config": json.dumps(config, indent=2, ensure_ascii=False) if config else None,
    }


def plain(value: Any) -> str:
    """A JSON value as text for people; "" for null."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return ", ".join(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return json.dumps(value, ensure_ascii=False)


def _mapping(run: dict[str, Any], key: str) -> dict[str, Any]:
    value = run.get(key)
    return value if isinstance(value, dict) else {}


def _title(key: Any) -> str:
    text = str(key).replace("_", " ")
    return text[:1].upper() + text[1:]
