"""The pixels of a training set: decoded and resized once, augmented at every use."""

from __future__ import annotations

import logging
import threading
from contextlib import closing
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from ..core.exceptions import InputError
from ..core.progress import progress
from ..data.decode import decode
from .preprocessing import Preprocessing
from .stream import in_order, threads_beside

log = logging.getLogger(__name__)
MARGIN = 8  # crops are shifted by up to 1/8 of the side, as in CIFAR's padding of 4 on 32
MAX_BYTES = 4 << 30


class TrainingPixels:
    """Batches of normalised pixels by row, with random shifts and flips.

    Resized images are kept in memory as 8-bit arrays where all of them fit into `max_bytes`;
    otherwise each is decoded whenever it is needed. An image that cannot be read becomes the mean
    colour and is named in the log.

    Parameters
    ----------
    images : LabeledImages
        N images.
    preprocessing : Preprocessing
        Of the encoder.
    augment : bool
        Shift by up to an eighth of the side (the border is repeated) and flip left to right half
        of the time.
    max_bytes : int
        For the resized images.
    workers : int, optional
        Threads that decode; by default as `threads_beside` says.
    device : torch.device, optional
        Where batches are augmented and normalised, and are given; by default the CPU.

    Raises
    ------
    InputError
        If the preprocessing cannot be cut in two halves.
    """

    def __init__(
        self,
        images: Any,
        preprocessing: Preprocessing,
        *,
        augment: bool = True,
        max_bytes: int = MAX_BYTES,
        workers: int | None = None,
        device: torch.device | None = None,
    ):
        self.images, self.preprocessing = images, preprocessing
        self.device = torch.device("cpu") if device is None else device
        self.augment = augment
        self.workers = threads_beside(self.device) if workers is None else workers
        self.broken: dict[int, str] = {}
        self._lock = threading.Lock()
        self._draws: Tensor | None = None
        first = self._decode(0)
        if not preprocessing.in_halves:
            raise InputError(
                f"{type(preprocessing.processor).__name__} does more than to resize, rescale and "
                "normalise, so images cannot be augmented in between; choose another model"
            )
        self._blank = torch.zeros_like(first)
        self._kept: Tensor | None = None
        if first.numel() * len(images) <= max_bytes:
            self._kept = torch.empty((len(images), *first.shape), dtype=torch.uint8)
            self._read(range(len(images)), self._kept, show=True)

    def begin_epoch(self, generator: torch.Generator) -> None:
        """Draw the shift and flip of every row, so that they do not depend on the batches."""
        if self.augment:
            n = len(self.images)
            shift = torch.rand((n, 2), generator=generator)
            flip = torch.rand((n, 1), generator=generator)
            self._draws = torch.cat([shift, flip], dim=1)

    def __call__(self, rows: Tensor, *, augment: bool | None = None) -> Tensor:
        """Normalised pixels of rows (B,) -> (B, 3, H, W) float32 on the device.

        Parameters
        ----------
        rows : Tensor of int64
            Which images.
        augment : bool, optional
            Overrides the constructor's choice.
        """
        rows = rows.cpu()
        if self._kept is not None:
            pixels = self._kept[rows]
        else:
            pixels = torch.empty((len(rows), *self._blank.shape), dtype=torch.uint8)
            self._read(rows.tolist(), pixels, show=False)
        pixels = pixels.to(self.device)  # as bytes: a quarter of what the normalised ones take
        if (self.augment if augment is None else augment) and self._draws is not None:
            pixels = shift_and_flip(pixels, self._draws[rows].to(self.device))
        return self.preprocessing.normalize(pixels)

    def _read(self, rows: Any, out: Tensor, *, show: bool) -> None:
        """Decode rows into the rows of `out`."""
        tasks = in_order(self._decode, rows, self.workers, ahead=4 * max(self.workers, 1))
        bar = progress(tasks, total=len(rows), desc="reading images", unit="img") if show else tasks
        with closing(tasks):
            for position, pixels in enumerate(bar):
                out[position] = pixels

    def _decode(self, row: int) -> Tensor:
        try:
            return self.preprocessing.resize([decode(self.images.read_bytes(row))])[0]
        except Exception as error:  # a broken file can fail in any decoder in any way
            with self._lock:
                if row not in self.broken:
                    log.warning("cannot read %s: %s", self.images.file_names[row], error)
                    self.broken[row] = str(error)
            return self._mean_colour()

    def _mean_colour(self) -> Tensor:
        """What an unreadable image is replaced by: mid grey at the encoder's size."""
        from PIL import Image

        return self.preprocessing.resize([Image.new("RGB", (64, 64), (124, 116, 104))])[0]


def shift_and_flip(pixels: Tensor, draws: Tensor) -> Tensor:
    """Shift each image by up to an eighth of its side and flip it left to right.

    Parameters
    ----------
    pixels : Tensor of uint8, shape (B, 3, H, W)
        Images; the border is repeated where a shift leaves it.
    draws : Tensor, shape (B, 3)
        Uniform in 0..1: vertical shift, horizontal shift, and a flip where below one half.
    """
    height, width = pixels.shape[-2:]
    v, h = height // MARGIN, width // MARGIN
    padded = pad(pixels.float(), (h, h, v, v), mode="replicate").to(torch.uint8)
    top = (draws[:, 0] * (2 * v + 1)).long().clamp(max=2 * v)
    left = (draws[:, 1] * (2 * h + 1)).long().clamp(max=2 * h)
    rows = top[:, None] + torch.arange(height, device=pixels.device)
    columns = left[:, None] + torch.arange(width, device=pixels.device)
    columns = torch.where(draws[:, 2:] < 0.5, columns.flip(1), columns)
    batch = torch.arange(len(pixels), device=pixels.device)[:, None, None]
    return padded.permute(0, 2, 3, 1)[batch, rows[:, :, None], columns[:, None, :]].permute(
        0, 3, 1, 2
    )
