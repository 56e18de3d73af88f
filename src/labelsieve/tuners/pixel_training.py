"""Training on pixels: the given labels, and the rules that doubt them."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..backbones.pixels import TrainingPixels
from ..core.exceptions import LabelSieveError
from ..core.random import seeded
from ..core.validation import IntArray
from ..losses import make_loss
from ..losses.elr import elr_loss, elr_targets
from ..selection.loss_mixture import clean_probability_from_losses
from ..selection.small_loss import forget_rate, keep_small_losses
from .baseline import SELECTIONS, Baseline
from .networks import AbstractNetwork
from .training import PRECISIONS, AbstractTrainable

log = logging.getLogger(__name__)


class PixelTraining(AbstractTrainable):
    """Mean loss of a network over batches of augmented images, with a baseline's selection.

    Parameters
    ----------
    network : AbstractNetwork
        Active while this is trained.
    pixels : TrainingPixels
        N images; those that cannot be read are given weight 0.
    labels : ndarray of int64, shape (N,)
        Given labels.
    baseline : Baseline
        The loss and the selection.
    precision : str
        In which the selection computes losses, see `TrainingPlan`.
    accelerator : accelerate.Accelerator, optional
        Shares the work of the selection among its processes.
    """

    def __init__(
        self,
        network: AbstractNetwork,
        pixels: TrainingPixels,
        labels: IntArray,
        baseline: Baseline,
        *,
        precision: str = "float32",
        accelerator: Any = None,
    ):
        super().__init__()
        self.network, self.pixels, self.baseline = network, pixels, baseline
        self.labels = torch.as_tensor(labels, device=network.device)
        self.precision = PRECISIONS[precision]
        self.n_processes = 1 if accelerator is None else accelerator.num_processes
        self.rank = 0 if accelerator is None else accelerator.process_index
        self.loss = make_loss("ce" if baseline.name in SELECTIONS else baseline.name)
        self.targets: Tensor | None = None
        if baseline.name == "elr":
            self.targets = torch.zeros(len(labels), network.embed_dim, device=network.device)
            self.updated = torch.zeros(len(labels), device=network.device)

    def get_extra_state(self) -> Tensor:
        """The targets of "elr" belong to a checkpoint, but are no buffer for processes to copy."""
        return torch.zeros(0) if self.targets is None else self.targets

    def set_extra_state(self, state: Tensor) -> None:
        """Put the targets of "elr" back."""
        if self.targets is not None:
            self.targets = state.to(self.targets)

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> Tensor | None:
        """Draw the augmentation; for "gmm", select the rows of the epoch."""
        self.pixels.begin_epoch(generator)
        if self.baseline.name == "gmm" and epoch >= self.baseline.warmup_epochs:
            return self._probably_clean()
        return None

    def step(self, rows: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        """Mean loss of the readable, selected rows; 0 with a gradient of 0 where there are none."""
        rows = rows.cpu()
        pixels = self.pixels(rows).to(self.network.device)
        # A batch of one image has no statistics of its own for a batch norm.
        self.network.train(len(rows) > 1)
        with seeded(generator, self.network.device, self.rank):
            logits = self.network(pixels)
        losses = self._losses(logits, rows)
        kept = self._readable(rows)
        if self.baseline.name == "small-loss":
            rate = forget_rate(epoch, self.baseline.noise_rate, self.baseline.warmup_epochs)
            kept[kept.clone()] = keep_small_losses(losses[kept], rate)
        # Not losses[kept].mean(): of no rows that is NaN.
        return torch.where(kept, losses, losses * 0).sum() / kept.sum().clamp(min=1)

    def end_epoch(self, epoch: int) -> None:
        """Give every process the targets of all rows."""
        if self.targets is None or self.n_processes == 1:
            return
        seen = self.updated[:, None]
        total, counts = self.targets * seen, self.updated.clone()
        for tensor in (total, counts):
            torch.distributed.all_reduce(tensor)
        mean = total / counts.clamp(min=1)[:, None]
        self.targets = torch.where(counts[:, None] > 0, mean, self.targets)
        self.updated.zero_()

    def _losses(self, logits: Tensor, rows: Tensor) -> Tensor:
        labels = self.labels[rows]
        if self.targets is None:
            return self.loss(logits, labels)
        targets = elr_targets(self.targets[rows], logits.detach().float().softmax(dim=1))
        self.targets[rows], self.updated[rows] = targets, 1.0
        return elr_loss(logits, labels, targets)

    def _readable(self, rows: Tensor) -> Tensor:
        known = [row not in self.pixels.broken for row in rows.tolist()]
        return torch.tensor(known, device=self.network.device)

    def _probably_clean(self) -> Tensor:
        """Rows in the lower component of a mixture over the losses of the images as they are."""
        losses = self._all_losses()
        readable = np.flatnonzero(~np.isnan(losses))
        p_clean = clean_probability_from_losses(
            losses[readable], random_state=self.baseline.random_state
        )
        clean = torch.zeros(len(losses), dtype=torch.uint8, device=self.network.device)
        clean[torch.as_tensor(readable[p_clean > 0.5])] = 1
        if self.n_processes > 1:  # the same selection everywhere, to the last bit
            torch.distributed.broadcast(clean, src=0)
        rows = clean.cpu().nonzero().squeeze(1)
        if len(rows) == 0:
            log.warning("the loss mixture finds no clean label; this epoch trains on all rows")
            return torch.arange(len(losses))
        log.info("the loss mixture keeps %d of %d rows", len(rows), len(losses))
        return rows

    @torch.no_grad()
    def _all_losses(self, batch_size: int = 256) -> np.ndarray[Any, Any]:
        """Cross-entropy (N,) without augmentation; NaN where the image cannot be read."""
        self.network.eval()
        if self.n_processes > 1:  # running statistics of norms are those of the main process
            for buffer in self.network.buffers():
                torch.distributed.broadcast(buffer, src=0)
        losses = torch.zeros(len(self.labels), device=self.network.device)
        mine = torch.arange(self.rank, len(self.labels), self.n_processes)
        for rows in mine.split(batch_size):
            pixels = self.pixels(rows, augment=False).to(self.network.device)
            with torch.autocast(
                self.network.device.type, self.precision, enabled=self.precision is not None
            ):
                found = self.loss(self.network(pixels), self.labels[rows])
            if not torch.isfinite(found).all():
                raise LabelSieveError("training diverged: a loss is not finite; lower lr")
            losses[rows] = torch.where(self._readable(rows), found, torch.nan)
        if self.n_processes > 1:
            torch.distributed.all_reduce(losses)
        return losses.cpu().numpy()
