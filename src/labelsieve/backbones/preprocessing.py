"""Preprocessing in two halves: resize to 8-bit pixels once, normalise at every use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from ..core.exceptions import InputError

PROBE_SIZES = ((96, 71), (71, 96), (640, 427), (333, 500))


class Preprocessing:
    """An image processor of transformers, cut where augmentation goes in between.

    Parameters
    ----------
    processor : transformers image processor
        Resizes, crops, rescales and normalises.
    """

    def __init__(self, processor: Any):
        self.processor = processor

    def __reduce__(self) -> tuple[Any, ...]:
        return Preprocessing, (self.processor,)  # what is cached cannot be pickled

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
        if self._direct is None:
            return self._processor_resize(images)
        pixels = np.stack([np.asarray(self._direct(image)) for image in images])
        return torch.from_numpy(np.ascontiguousarray(pixels.transpose(0, 3, 1, 2)))

    def _processor_resize(self, images: Sequence[Image.Image]) -> Tensor:
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
            scaled.mul_(float(getattr(self.processor, "rescale_factor", 1 / 255)))
        if getattr(self.processor, "do_normalize", False):
            shape = (1, -1, 1, 1)
            mean = torch.tensor(self.processor.image_mean, device=pixels.device).reshape(shape)
            spread = torch.tensor(self.processor.image_std, device=pixels.device).reshape(shape)
            scaled.sub_(mean).div_(spread)
        return scaled

    @cached_property
    def in_halves(self) -> bool:
        """Whether resizing and normalising one after the other is what the processor does."""
        images = _probe_images()
        try:
            halves = self.normalize(self.resize(images))
        except Exception:  # a processor of another kind may fail in any way
            return False
        whole = self(images)
        return halves.shape == whole.shape and bool(torch.allclose(halves, whole, atol=1e-5))

    @cached_property
    def least_side(self) -> int | None:
        """Sides of which an image loses nothing that matters before it is resized; None: unknown.

        Three times the size that it is resized to: features then change by a cosine of at most
        0.001 (measured; twice the size, Pillow's rule for thumbnails, is not enough for that).
        """
        size = _sizes(self.processor)[0]
        return None if size is None else 3 * max(size.values())

    @cached_property
    def _direct(self) -> Callable[[Image.Image], Image.Image] | None:
        """Resize and crop by Pillow alone, where that gives the very pixels of the processor."""
        size, crop = _sizes(self.processor)
        resample = getattr(self.processor, "resample", None)
        if size is None or resample is None:
            return None

        def direct(image: Image.Image) -> Image.Image:
            return _resize_and_crop(image, size, crop, Image.Resampling(int(resample)))

        images = _probe_images()
        try:
            wanted = [self._processor_resize([image])[0] for image in images]
            found = [np.asarray(direct(image)).transpose(2, 0, 1) for image in images]
        except Exception:  # a processor of another kind may fail in any way
            return None
        same = (np.array_equal(a, b) for a, b in zip(found, wanted, strict=True))
        return direct if all(same) else None


def _sizes(processor: Any) -> tuple[dict[str, int] | None, tuple[int, int] | None]:
    """What a processor resizes to (shortest edge, or height and width) and crops to."""

    def entries(name: str, switch: str) -> dict[str, int]:
        if not getattr(processor, switch, False) or not getattr(processor, name, None):
            return {}
        return {key: int(value) for key, value in dict(getattr(processor, name)).items() if value}

    size, crop = entries("size", "do_resize"), entries("crop_size", "do_center_crop")
    if set(size) not in ({"shortest_edge"}, {"height", "width"}):
        return None, None
    return size, (crop["height"], crop["width"]) if set(crop) == {"height", "width"} else None


def _resize_and_crop(
    image: Image.Image,
    size: dict[str, int],
    crop: tuple[int, int] | None,
    resample: Image.Resampling,
) -> Image.Image:
    """As transformers' processors do it, down to how they round."""
    if "shortest_edge" in size:
        edge, (width, height) = size["shortest_edge"], image.size
        longer = int(edge * max(width, height) / min(width, height))
        target = (longer, edge) if width > height else (edge, longer)
    else:
        target = (size["width"], size["height"])
    image = image.convert("RGB").resize(target, resample)
    if crop is None:
        return image
    top, left = (image.height - crop[0]) // 2, (image.width - crop[1]) // 2
    return image.crop((left, top, left + crop[1], top + crop[0]))


def _probe_images() -> list[Image.Image]:
    draw = np.random.default_rng(0)
    return [
        Image.fromarray(draw.integers(0, 256, (height, width, 3), dtype=np.uint8))
        for width, height in PROBE_SIZES
    ]
