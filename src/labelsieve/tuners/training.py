"""The one training loop: epochs over rows, SGD, warm-up and cosine, checkpoints, history."""

from __future__ import annotations

import hashlib
import json
import logging
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from ..core.exceptions import LabelSieveError, gather
from ..core.progress import progress
from ..core.random import numpy_generator
from ..core.serialization import load_tensors, read_json, save_tensors, write_json
from ..data.splits import batches

log = logging.getLogger(__name__)
Callback = Callable[[dict[str, float]], None]


class AbstractTrainable(nn.Module, ABC):
    """What a method gives to the loop: a module with a loss for a batch of rows.

    Its parameters that require gradients are trained; `state_dict` is what a checkpoint holds.
    """

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> torch.Tensor | None:
        """Choose the rows of this epoch (sample selection); None means all rows."""
        return None

    @abstractmethod
    def step(self, rows: torch.Tensor, epoch: int, generator: torch.Generator) -> torch.Tensor:
        """The scalar loss of a batch of row indices (B,), to be differentiated."""


@dataclass(frozen=True)
class TrainingPlan:
    """Optimiser and schedule of CoOp (Zhou et al., IJCV 2022), stepped once an epoch.

    Parameters
    ----------
    epochs, batch_size : int
        Passes over the rows, and rows a step; the last, smaller batch is kept.
    lr, momentum, weight_decay : float
        Of SGD.
    warmup_epochs : int
        Epochs at the constant rate `warmup_lr` before the cosine starts.
    warmup_lr : float
        Learning rate of the warm-up.
    """

    epochs: int = 50
    batch_size: int = 32
    lr: float = 0.002
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_epochs: int = 1
    warmup_lr: float = 1e-5

    def check(self) -> None:
        """Raise `InputError` with all values that cannot be used."""
        problems = [
            f"{name} must be an integer of at least {low}, not {getattr(self, name)!r}"
            for name, low in (("epochs", 0), ("batch_size", 1), ("warmup_epochs", 0))
            if not isinstance(getattr(self, name), int | np.integer) or getattr(self, name) < low
        ]
        problems += [
            f"{name} must be a finite number of at least 0, not {getattr(self, name)!r}"
            for name in ("lr", "momentum", "weight_decay", "warmup_lr")
            if not (math.isfinite(getattr(self, name)) and getattr(self, name) >= 0)
        ]
        gather(problems, what="training")

    def learning_rate(self, epoch: int) -> float:
        """Learning rate of a 0-based epoch: warm-up, then lr/2 (1 + cos(pi (e - warm-up) / E))."""
        if epoch < self.warmup_epochs:
            return self.warmup_lr
        turn = math.pi * (epoch - self.warmup_epochs) / self.epochs
        return self.lr * 0.5 * (1 + math.cos(turn))


def default_plan(n_rows: int, logit_scale: float, *, few_shot: bool) -> TrainingPlan:
    """CoOp's plan for few shots; a comparable number of steps on a whole data set.

    CoOp's learning rate, 0.002, is for a logit scale of 100. A step changes the logits by an
    amount proportional to lr times the square of the scale (once from the gradient, once from the
    forward pass), so models with another scale get 0.002 (100 / scale)^2.

    Parameters
    ----------
    n_rows : int
        Training rows.
    logit_scale : float
        Of the backbone.
    few_shot : bool
        50 epochs in batches of 32, as published; otherwise about 1,500 steps in batches of 64,
        in 3 to 20 epochs.
    """
    lr = TrainingPlan.lr * (100.0 / logit_scale) ** 2
    if few_shot:
        return TrainingPlan(lr=lr)
    steps_an_epoch = math.ceil(n_rows / 64)
    return TrainingPlan(epochs=min(20, max(3, 1500 // steps_an_epoch)), batch_size=64, lr=lr)


def train(
    module: AbstractTrainable,
    n_rows: int,
    plan: TrainingPlan,
    *,
    random_state: int = 0,
    checkpoint: Path | None = None,
    identity: Any = None,
    callbacks: tuple[Callback, ...] = (),
    description: str = "training",
) -> list[dict[str, float]]:
    """Train a module in place and return its history, one record an epoch.

    All randomness of an epoch comes from (`random_state`, epoch), so a run that resumes from a
    checkpoint ends bit-identical to one that was never stopped.

    Parameters
    ----------
    module : AbstractTrainable
        Supplies the loss and the parameters.
    n_rows : int
        Number of training rows.
    plan : TrainingPlan
        Optimiser and schedule.
    random_state : int
        Decides the order of rows and every draw inside `module.step`.
    checkpoint : Path, optional
        Folder for the state after each epoch; a matching one is resumed, another is ignored.
    identity : JSON value, optional
        What else a checkpoint must match, such as a digest of the data.
    callbacks : tuple of callables
        Each is called with the record of every finished epoch.
    description : str
        Label of the progress bar.

    Returns
    -------
    list of dict
        ``epoch``, ``loss`` (mean over rows), ``lr``, ``rows`` and ``seconds``.

    Raises
    ------
    InputError
        If the plan cannot be used.
    LabelSieveError
        If the loss is not finite; the module then holds the last finite state.
    """
    plan.check()
    keeper = _Checkpoint(checkpoint, [asdict(plan), random_state, n_rows, identity])
    optimizer = torch.optim.SGD(
        [p for p in module.parameters() if p.requires_grad],
        lr=plan.lr,
        momentum=plan.momentum,
        weight_decay=plan.weight_decay,
    )
    history = keeper.restore(module, optimizer)
    epochs = range(len(history), plan.epochs)
    bar = progress(total=plan.epochs, initial=len(history), desc=description, unit="epoch")
    with bar:
        for epoch in epochs:
            record = _run_epoch(module, optimizer, plan, epoch, n_rows, random_state)
            history.append(record)
            keeper.store(module, optimizer, history)
            bar.update()
            bar.set_postfix(loss=f"{record['loss']:.4f}")
            for callback in callbacks:
                callback(record)
    return history


def _run_epoch(
    module: AbstractTrainable,
    optimizer: torch.optim.Optimizer,
    plan: TrainingPlan,
    epoch: int,
    n_rows: int,
    random_state: int,
) -> dict[str, float]:
    """One pass over the rows of an epoch."""
    started = time.perf_counter()
    order = numpy_generator(np.random.default_rng([random_state, epoch]))
    generator = torch.Generator().manual_seed(int(order.integers(2**63 - 1)))
    lr = plan.learning_rate(epoch)
    for group in optimizer.param_groups:
        group["lr"] = lr
    chosen = module.begin_epoch(epoch, generator)
    rows = torch.arange(n_rows) if chosen is None else chosen
    total = 0.0
    for batch in batches(len(rows), plan.batch_size, order):
        optimizer.zero_grad(set_to_none=True)
        loss = module.step(rows[torch.as_tensor(batch)], epoch, generator)
        if not torch.isfinite(loss):
            raise LabelSieveError(
                f"training diverged in epoch {epoch + 1} (loss {loss.item()}); "
                f"lower the learning rate (now {plan.lr:g}) or choose another loss"
            )
        if loss.requires_grad:
            loss.backward()
            optimizer.step()
        total += loss.item() * len(batch)
    return {
        "epoch": epoch,
        "loss": total / max(len(rows), 1),
        "lr": lr,
        "rows": len(rows),
        "seconds": time.perf_counter() - started,
    }


class _Checkpoint:
    """Parameters, momentum and history after the last finished epoch, in one folder."""

    def __init__(self, folder: Path | None, identity: list[Any]):
        self.folder = folder
        self.digest = hashlib.blake2b(
            json.dumps(identity, sort_keys=True, default=str).encode(), digest_size=16
        ).hexdigest()

    def store(
        self, module: nn.Module, optimizer: torch.optim.Optimizer, history: list[dict[str, float]]
    ) -> None:
        if self.folder is None:
            return
        tensors = {f"module.{k}": v for k, v in module.state_dict().items()}
        for index, state in optimizer.state_dict()["state"].items():
            if state.get("momentum_buffer") is not None:
                tensors[f"momentum.{index}"] = state["momentum_buffer"]
        # The name of the tensors' file changes with the epoch and the JSON file names it, so a
        # kill between the two writes leaves the previous, matching pair.
        name = f"epoch-{len(history)}.safetensors"
        save_tensors(self.folder / name, tensors)
        state = {"identity": self.digest, "tensors": name, "history": history}
        write_json(self.folder / "training.json", state)
        for old in self.folder.glob("epoch-*.safetensors"):
            if old.name != name:
                old.unlink(missing_ok=True)

    def restore(
        self, module: nn.Module, optimizer: torch.optim.Optimizer
    ) -> list[dict[str, float]]:
        if self.folder is None or not (self.folder / "training.json").exists():
            return []
        state = read_json(self.folder / "training.json")
        if state["identity"] != self.digest:
            log.warning("ignoring the checkpoint in %s: it is of another run", self.folder)
            return []
        tensors = load_tensors(self.folder / state["tensors"])
        module.load_state_dict(
            {k[len("module.") :]: v for k, v in tensors.items() if k.startswith("module.")}
        )
        packed = optimizer.state_dict()
        packed["state"] = {
            int(k[len("momentum.") :]): {"momentum_buffer": v}
            for k, v in tensors.items()
            if k.startswith("momentum.")
        }
        optimizer.load_state_dict(packed)
        log.info("resuming after epoch %d", len(state["history"]))
        return state["history"]
