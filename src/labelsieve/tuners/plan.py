"""Optimiser and schedule: warm-up, then a cosine; the defaults of CoOp."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch

from ..core.exceptions import gather
from ..core.validation import is_number

OPTIMIZERS = ("sgd", "adamw")
COUNTS = (("epochs", 0), ("batch_size", 1), ("warmup_epochs", 0), ("accumulate", 1))
PRECISIONS = {"float32": None, "bfloat16": torch.bfloat16, "float16": torch.float16}


@dataclass(frozen=True)
class TrainingPlan:
    """Optimiser and schedule of CoOp (Zhou et al., IJCV 2022), stepped once an epoch.

    Parameters
    ----------
    epochs, batch_size : int
        Passes over the rows, and rows a step; the last, smaller batch is kept.
    lr, momentum, weight_decay : float
        Of the optimiser; AdamW has no use for the momentum.
    warmup_epochs : int
        Epochs at the constant rate `warmup_lr` before the cosine starts.
    warmup_lr : float
        Learning rate of the warm-up.
    optimizer : {"sgd", "adamw"}
        SGD with momentum, or AdamW (Loshchilov & Hutter, ICLR 2019).
    accumulate : int
        Forward passes that a batch is cut into, to save memory; gradients are added up.
    precision : {"float32", "bfloat16", "float16"}
        Automatic mixed precision of the forward pass; parameters stay float32.
    """

    epochs: int = 50
    batch_size: int = 32
    lr: float = 0.002
    momentum: float = 0.9
    weight_decay: float = 5e-4
    warmup_epochs: int = 1
    warmup_lr: float = 1e-5
    optimizer: str = "sgd"
    accumulate: int = 1
    precision: str = "float32"

    def check(self) -> None:
        """Raise `InputError` with all values that cannot be used."""
        problems = [
            f"{name} must be an integer of at least {low}, not {getattr(self, name)!r}"
            for name, low in COUNTS
            if not is_number(getattr(self, name), low=low, integer=True)
        ]
        problems += [
            f"{name} must be a finite number of at least 0, not {getattr(self, name)!r}"
            for name in ("lr", "momentum", "weight_decay", "warmup_lr")
            if not is_number(getattr(self, name), low=0)
        ]
        problems += [
            f"{name} must be one of {', '.join(allowed)}, not {getattr(self, name)!r}"
            for name, allowed in (("optimizer", OPTIMIZERS), ("precision", tuple(PRECISIONS)))
            if getattr(self, name) not in allowed
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
