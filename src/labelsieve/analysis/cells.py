"""Measured cells of a study, kept on disk so that a killed run continues where it stopped."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

from ..core.serialization import read_json, write_json

log = logging.getLogger(__name__)

FILE = "cells.json"


class Cells:
    """Records by key, written to a folder after each new one.

    Parameters
    ----------
    folder : Path
        Where they are kept.
    identity : JSON value
        What decides a cell beside its key (model, data, settings); cells of another identity are
        not taken over.
    """

    def __init__(self, folder: Path, identity: Any):
        self.path = folder / FILE
        text = json.dumps(identity, sort_keys=True, default=str)
        self.digest = hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
        self.records: dict[str, dict[str, Any]] = {}

    def load(self) -> Cells:
        """Take over what an interrupted run has left."""
        if self.path.exists():
            found = read_json(self.path)
            if found.get("identity") == self.digest:
                self.records = found["cells"]
                log.info("continuing with %d measured cells", len(self.records))
            else:
                log.warning("ignoring the cells in %s: they are of another run", self.path)
        return self

    def __contains__(self, key: tuple[Any, ...]) -> bool:
        return json.dumps(key) in self.records

    def add(self, key: tuple[Any, ...], record: dict[str, Any]) -> None:
        """Keep one record, on disk as well."""
        self.records[json.dumps(key)] = record
        write_json(self.path, {"identity": self.digest, "cells": self.records})

    def in_order(self, keys: list[tuple[Any, ...]]) -> list[dict[str, Any]]:
        """The records of these keys."""
        return [self.records[json.dumps(key)] for key in keys]
