"""The image features that a prompt is tuned against: cached, or through an adapted encoder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..backbones import AbstractBackbone
from ..backbones.pixels import TrainingPixels
from ..core.exceptions import InputError
from ..core.random import seeded
from ..visual_tuning import AbstractVisualTuning, make_visual_tuning
from .inputs import FitData


class ImageSide(nn.Module):
    """Features of training rows, and the parameters that the image encoder is adapted with.

    Without a visual tuning the features were computed once, and every step reads them. With one,
    the pixels pass through the encoder at every step, shifted and flipped at random, and gradients
    reach the parameters of the tuning.

    Parameters
    ----------
    data : FitData
        Training rows.
    backbone : AbstractBackbone
        Encodes the images.
    visual_tuning : str
        A name from `VISUAL_TUNINGS`, or "none".
    params : dict, optional
        Constructor arguments of the visual tuning.
    generator : torch.Generator
        Draws the start of its parameters.

    Raises
    ------
    InputError
        If the encoder shall be adapted but there are no images, only features.
    """

    def __init__(
        self,
        data: FitData,
        backbone: AbstractBackbone,
        visual_tuning: str,
        params: dict[str, Any] | None,
        generator: torch.Generator,
    ):
        super().__init__()
        self.backbone, self.images = backbone, data.images
        self.tuning: AbstractVisualTuning | None = make_visual_tuning(
            visual_tuning, backbone, generator=generator, params=params
        )
        if self.tuning is not None and data.images is None:
            raise InputError(
                f"visual_tuning={visual_tuning!r} needs images, but features were given; pass "
                'images, or visual_tuning="none"'
            )
        self.features = torch.as_tensor(data.features, device=backbone.device)
        self.views: Tensor | None = None  # (N, V, D): of each row one view an epoch is taken
        self.view = torch.zeros(len(data.features), dtype=torch.int64)
        self.pixels: TrainingPixels | None = None

    @contextmanager
    def active(self) -> Iterator[None]:
        """The encoder is adapted inside the block, and as before after it."""
        if self.tuning is None:
            yield
            return
        self.pixels = TrainingPixels(
            self.images, self.backbone.preprocessing, device=self.backbone.device
        )
        self.tuning.train()
        try:
            with self.tuning.attached(self.backbone):
                yield
        finally:
            self.tuning.eval()
            self.pixels = None

    def begin_epoch(self, generator: torch.Generator) -> None:
        """Draw the augmentation of an epoch."""
        if self.views is not None:
            self.view = torch.randint(self.views.shape[1], self.view.shape, generator=generator)
        if self.pixels is not None:
            self.pixels.begin_epoch(generator)

    def forward(self, rows: Tensor, generator: torch.Generator) -> Tensor:
        """Normalised features of training rows, (B,) -> (B, D) float32.

        Parameters
        ----------
        rows : Tensor of int64, shape (B,)
            Which rows.
        generator : torch.Generator
            Decides the dropout of a visual tuning that has one.
        """
        if self.views is not None:
            return self.views[rows, self.view[rows]]
        if self.pixels is None:
            return self.features[rows]
        with seeded(generator, self.backbone.device):
            return self.backbone.encode_images(self.pixels(rows))
