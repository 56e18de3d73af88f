"""The state of an unfinished training, kept after every epoch."""

from __future__ import annotations

import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..core.exceptions import InputError
from ..core.serialization import load_tensors, read_json, save_tensors, write_json

log = logging.getLogger(__name__)


class Checkpoint:
    """Parameters, optimiser, gradient scale and history after the last finished epoch, in a folder.

    Parameters
    ----------
    folder : Path or None
        None keeps nothing.
    identity : JSON value
        What a checkpoint must match to be resumed.
    scaler : torch.amp.GradScaler, optional
        Of training in float16.
    """

    def __init__(
        self, folder: Path | None, identity: list[Any], scaler: torch.amp.GradScaler | None = None
    ):
        self.folder, self.scaler = folder, scaler
        self.digest = hashlib.blake2b(
            json.dumps(identity, sort_keys=True, default=str).encode(), digest_size=16
        ).hexdigest()

    def store(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, history: list[dict[str, float]]
    ) -> None:
        """Write the state; a kill at any moment leaves this or the previous one."""
        if self.folder is None:
            return
        tensors = {f"module.{k}": v for k, v in module.state_dict().items()}
        for index, state in optimizer.state_dict()["state"].items():
            for name, value in state.items():
                if value is not None:
                    tensors[f"optimizer.{index}.{name}"] = torch.as_tensor(value)
        # The name of the tensors' file changes with the epoch and the JSON file names it, so a
        # kill between the two writes leaves the previous, matching pair.
        name = f"epoch-{len(history)}.safetensors"
        save_tensors(self.folder / name, tensors)
        state = {"identity": self.digest, "tensors": name, "history": history}
        if self.scaler is not None:
            state["scaler"] = self.scaler.state_dict()
        write_json(self.folder / "training.json", state)
        for old in self.folder.glob("epoch-*.safetensors"):
            if old.name != name:
                old.unlink(missing_ok=True)

    def restore(
        self, module: nn.Module, optimizer: torch.optim.Optimizer
    ) -> list[dict[str, float]]:
        """Put a matching state back and return its history; an empty one where none can be read."""
        if self.folder is None or not (self.folder / "training.json").exists():
            return []
        try:
            state = read_json(self.folder / "training.json")
            if state["identity"] != self.digest:
                log.warning("ignoring the checkpoint in %s: it is of another run", self.folder)
                return []
            tensors = load_tensors(self.folder / state["tensors"])
        except InputError as error:  # such as after a power cut
            log.warning("ignoring the damaged checkpoint in %s: %s", self.folder, error)
            return []
        module.load_state_dict(
            {k[len("module.") :]: v for k, v in tensors.items() if k.startswith("module.")}
        )
        packed = optimizer.state_dict()
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, index, name = key.split(".", 2)
                packed["state"].setdefault(int(index), {})[name] = value
        optimizer.load_state_dict(packed)
        if self.scaler is not None and state.get("scaler"):
            self.scaler.load_state_dict(state["scaler"])
        log.info("resuming after epoch %d", len(state["history"]))
        return state["history"]
