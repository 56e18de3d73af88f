"""Preprocessing in two halves: resize to 8-bit pixels once, normalise at every use."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..core.exceptions import InputError


class Preprocessing:
    """An image processor of transformers, cut where augmentation goes in between.

    Parameters
    ----------
    processor : transformers image processor
        Resizes, crops, rescales and normalises.
    """

    def __init__(self, processor: Any):
        self.processor = processor

    def __call__(self, images: Sequence[Image.Image]) -> Tensor:
        """Resize, crop and normalise PIL images: -> (B, 3, H, W) float32 on the CPU."""
        pixels = self.processor(list(images), return_tensors="np")["pixel_values"]
        return torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32))

    def resize(self, images: Sequence[Image.Image]) -> Tensor:
        """Resize and crop PIL images: -> (B, 3, H, W) uint8 on the CPU.

        Raises
        ------
        InputError
            If the processor does not give 8-bit pixels of one size.
        """
        found = self.processor(
            list(images), return_tensors="np", do_rescale=False, do_normalize=False
        )["pixel_values"]
        pixels = np.asarray(found)
        if pixels.ndim != 4 or pixels.shape[1] != 3 or not 0 <= pixels.min() <= pixels.max() <= 255:
            raise InputError(
                f"{type(self.processor).__name__} gives pixels of shape {pixels.shape}; training "
                "needs a processor that resizes to one size, (B, 3, H, W)"
            )
        return torch.from_numpy(np.ascontiguousarray(np.rint(pixels), dtype=np.uint8))

    def normalize(self, pixels: Tensor) -> Tensor:
        """Rescale and normalise resized pixels: (B, 3, H, W) uint8 -> float32, same device."""
        scaled = pixels.float()
        if getattr(self.processor, "do_rescale", True):
            scaled = scaled * float(getattr(self.processor, "rescale_factor", 1 / 255))
        if getattr(self.processor, "do_normalize", False):
            shape = (1, -1, 1, 1)
            mean = torch.tensor(self.processor.image_mean, device=pixels.device).reshape(shape)
            spread = torch.tensor(self.processor.image_std, device=pixels.device).reshape(shape)
            scaled = (scaled - mean) / spread
        return scaled
