"""The one training loop: epochs over rows, checkpoints, history."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..core.exceptions import LabelSieveError
from ..core.progress import progress
from ..core.random import numpy_generator
from ..data.splits import batches
from .checkpoint import Checkpoint
from .plan import PRECISIONS, TrainingPlan

Callback = Callable[[dict[str, float]], None]


class AbstractTrainable(nn.Module, ABC):
    """What a method gives to the loop: a module with a loss for a batch of rows.

    Its parameters that require gradients are trained; `state_dict` is what a checkpoint holds.
    """

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> torch.Tensor | None:
        """Choose the rows of this epoch (sample selection); None means all rows."""
        return None

    def limit_gradients(self) -> None:
        """Shorten gradients where a method needs it; called before every step of the optimiser."""
        return

    def end_epoch(self, epoch: int) -> None:
        """Bring what the processes of a distributed run know together, before a checkpoint."""
        return

    @abstractmethod
    def step(self, rows: torch.Tensor, epoch: int, generator: torch.Generator) -> torch.Tensor:
        """The scalar loss of a batch of row indices (B,), to be differentiated."""

    def forward(self, rows: torch.Tensor, epoch: int, generator: torch.Generator) -> torch.Tensor:
        """`step`, under the name by which data-parallel wrappers call it."""
        return self.step(rows, epoch, generator)


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
    accelerator: Any = None,
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
    accelerator : accelerate.Accelerator, optional
        Shares every batch among its processes, whose gradients are averaged by row. All processes
        draw the same order; the main one writes the checkpoints.

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
    run = _Run(module, plan, accelerator)
    same = [asdict(plan), random_state, n_rows, identity]
    keeper = Checkpoint(checkpoint, same, run.scaler)
    history = keeper.restore(module, run.optimizer)
    hidden = None if run.is_main else True
    bar = progress(total=plan.epochs * n_rows, desc=description, unit="row", disable=hidden)
    with bar:
        for epoch in range(len(history), plan.epochs):
            bar.update(epoch * n_rows - bar.n)
            history.append(run.epoch(epoch, n_rows, random_state, bar))
            if run.is_main:
                keeper.store(module, run.optimizer, history)
            bar.set_postfix_str(f"epoch {epoch + 1}, loss {history[-1]['loss']:.4f}")
            for callback in callbacks:
                callback(history[-1])
    return history


@contextmanager
def quick_attention(device: str, dtype: torch.dtype | None) -> Iterator[None]:
    """Attention as plain products of matrices, where that is faster: in bfloat16 on a CPU.

    Torch's fused kernel takes up to four times as long there, nearly all of it in its backward
    pass, see ``benchmarks/cpu_attention.py``. The block must hold the backward pass too, for
    layers that are computed again in it.
    """
    if (device, dtype) != ("cpu", torch.bfloat16):
        yield
        return
    flags = torch.backends.cuda  # read on a CPU as well
    before = flags.fp16_bf16_reduction_math_sdp_allowed()
    flags.allow_fp16_bf16_reduction_math_sdp(True)  # else the products are of float32
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        flags.allow_fp16_bf16_reduction_math_sdp(before)


class _Run:
    """The state of one call of `train`: optimiser, precision, and who computes which rows."""

    def __init__(self, module: AbstractTrainable, plan: TrainingPlan, accelerator: Any):
        self.module, self.plan, self.accelerator = module, plan, accelerator
        self.optimizer = _optimizer(module, plan)
        self.call = module if accelerator is None else accelerator.prepare_model(module)
        self.rank = 0 if accelerator is None else accelerator.process_index
        self.n_processes = 1 if accelerator is None else accelerator.num_processes
        self.is_main = self.rank == 0
        device = next(module.parameters()).device.type
        self.dtype = PRECISIONS[plan.precision]
        self.device = device
        self.scaler = torch.amp.GradScaler(
            device, enabled=plan.precision == "float16" and device == "cuda"
        )

    def epoch(self, epoch: int, n_rows: int, random_state: int, bar: Any) -> dict[str, float]:
        """One pass over the rows of an epoch."""
        started = time.perf_counter()
        order = numpy_generator(np.random.default_rng([random_state, epoch]))
        generator = torch.Generator().manual_seed(int(order.integers(2**63 - 1)))
        lr = self.plan.learning_rate(epoch)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        chosen = self.module.begin_epoch(epoch, generator)
        rows = torch.arange(n_rows) if chosen is None else chosen
        total = 0.0
        for batch in batches(len(rows), self.plan.batch_size, order):
            with quick_attention(self.device, self.dtype):
                total += self.batch(rows[torch.as_tensor(batch)], epoch, generator)
            bar.update(len(batch))
        self.module.end_epoch(epoch)
        if self.n_processes > 1:
            total = float(
                self.accelerator.reduce(torch.tensor(total, device=self.accelerator.device))
            )
        return {
            "epoch": epoch,
            "loss": total / max(len(rows), 1),
            "lr": lr,
            "rows": len(rows),
            "seconds": time.perf_counter() - started,
        }

    def batch(self, rows: torch.Tensor, epoch: int, generator: torch.Generator) -> float:
        """One step of the optimiser; returns the sum of the losses of this process's rows."""
        self.optimizer.zero_grad(set_to_none=True)
        total, trained = 0.0, False
        for part, weight in self.parts(rows):
            with torch.autocast(self.device, self.dtype, enabled=self.dtype is not None):
                loss = self.call(part, epoch, generator)
            if not torch.isfinite(loss):
                raise LabelSieveError(
                    f"training diverged in epoch {epoch + 1} (loss {loss.item()}); "
                    f"lower the learning rate (now {self.plan.lr:g}) or choose another loss"
                )
            if loss.requires_grad:
                # Data parallelism takes the mean over processes; the factor makes it one over rows.
                self.scaler.scale(loss * (weight * self.n_processes)).backward()
                trained = True
            total += loss.item() * weight * len(rows)
        if trained:
            self.scaler.unscale_(self.optimizer)
            self.module.limit_gradients()
            self.scaler.step(self.optimizer)
            self.scaler.update()
        return total

    def parts(self, rows: torch.Tensor) -> list[tuple[torch.Tensor, float]]:
        """This process's rows in `accumulate` pieces, each with its share of the whole batch.

        A process without rows in a small last batch takes one with weight 0, since the processes
        wait for each other's gradients; pieces are as many in every process for the same reason.
        """
        mine = rows[self.rank :: self.n_processes]
        longest = -(-len(rows) // self.n_processes)
        n_parts = min(self.plan.accumulate, longest)
        parts = [(part, len(part) / len(rows)) for part in mine.tensor_split(n_parts)]
        return [(part, share) if len(part) else (rows[:1], 0.0) for part, share in parts]


def _optimizer(module: nn.Module, plan: TrainingPlan) -> torch.optim.Optimizer:
    trained = [p for p in module.parameters() if p.requires_grad]
    if plan.optimizer == "adamw":
        return torch.optim.AdamW(trained, lr=plan.lr, weight_decay=plan.weight_decay)
    return torch.optim.SGD(
        trained, lr=plan.lr, momentum=plan.momentum, weight_decay=plan.weight_decay
    )
