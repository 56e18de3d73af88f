"""From pixels to logits: an image encoder with a linear head."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..backbones import AbstractBackbone
from ..backbones.preprocessing import Preprocessing
from ..visual_tuning import make_visual_tuning


class AbstractNetwork(nn.Module, ABC):
    """An image classifier: normalised pixels (B, 3, H, W) to logits (B, K).

    Its parameters are what is trained, and only they are in `state_dict`. It can be used only
    inside `active`. `embed_dim`, `preprocess`, `encode_images` and `dtype` are those of a
    backbone, so that `extract_features` streams logits as it streams features.

    Attributes
    ----------
    embed_dim : int
        Number of classes, K: the width of the output.
    preprocessing : Preprocessing
        From PIL images to normalised pixels.
    device : torch.device
        Where it computes.
    dtype : torch.dtype
        Precision of the encoder.
    """

    embed_dim: int
    preprocessing: Preprocessing
    device: torch.device
    dtype: torch.dtype

    @abstractmethod
    def forward(self, pixels: Tensor) -> Tensor:
        """Logits of normalised pixels on the network's device: (B, 3, H, W) to (B, K)."""

    @contextmanager
    def active(self) -> Iterator[None]:
        """The network can be called inside the block."""
        yield

    def preprocess(self, images: Sequence[Any]) -> Tensor:
        """Resize, crop and normalise PIL images: -> (B, 3, H, W) float32 on the CPU."""
        return self.preprocessing(images)

    def encode_images(self, pixels: Tensor) -> Tensor:
        """Logits (B, K), float32, of preprocessed images; without dropout, with fixed norms."""
        self.eval()
        return self(pixels.to(self.device)).float()


class TowerNetwork(AbstractNetwork):
    """The vision tower of a vision-language model, before its projection, with a linear head.

    Parameters
    ----------
    backbone : AbstractBackbone
        Stays frozen and unchanged; it is used, not contained.
    n_classes : int
        K.
    visual_tuning, visual_tuning_params
        See `make_visual_tuning`; with "none" only the head is trained.
    generator : torch.Generator
        Draws the head and the tuning.
    """

    def __init__(
        self,
        backbone: AbstractBackbone,
        n_classes: int,
        *,
        visual_tuning: str = "full",
        visual_tuning_params: dict[str, Any] | None = None,
        generator: torch.Generator,
    ):
        super().__init__()
        self.backbone = backbone
        self.embed_dim = n_classes
        self.preprocessing = backbone.preprocessing
        self.device, self.dtype = backbone.device, backbone.dtype
        self.tuning = make_visual_tuning(
            visual_tuning, backbone, generator=generator, params=visual_tuning_params
        )
        self.head = nn.utils.skip_init(nn.Linear, backbone.pooled_width, n_classes)
        bound = 1 / math.sqrt(backbone.pooled_width)  # as torch starts a linear layer
        for parameter in self.head.parameters():
            nn.init.uniform_(parameter, -bound, bound, generator=generator)
        self.head.to(self.device)

    def forward(self, pixels: Tensor) -> Tensor:
        """See `AbstractNetwork`."""
        return self.head(self.backbone.pooled_images(pixels).float())

    @contextmanager
    def active(self) -> Iterator[None]:
        """The tower runs with the tuning inside the block."""
        if self.tuning is None:
            yield
            return
        with self.tuning.attached(self.backbone):
            yield
