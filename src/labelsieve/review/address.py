"""Port and key of the last server, so that an open page finds its server again after a restart."""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
from pathlib import Path
from typing import Any

from ..core.serialization import atomic_path

logger = logging.getLogger(__name__)
FILE = "server.json"
_TOKEN = re.compile(r"[\w-]{32,64}")


def new_token() -> str:
    """A key that cannot be guessed: 192 random bits."""
    return secrets.token_urlsafe(24)


def remembered(folder: Path) -> tuple[int, str]:
    """Port and key of the last server of a folder; 0 and a new key where there is none."""
    try:
        value: Any = json.loads((folder / FILE).read_text(encoding="utf-8"))
        port, token = int(value["port"]), str(value["token"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, new_token()
    if not (0 <= port <= 65535 and _TOKEN.fullmatch(token)):
        return 0, new_token()
    return port, token


def remember(folder: Path, port: int, token: str) -> None:
    """Keep port and key for the next server; readable by their owner alone."""
    try:
        with atomic_path(folder / FILE) as partial:
            handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                json.dump({"port": port, "token": token}, file)
    except OSError as error:
        logger.warning("the address of this server is not kept: %s", error)
