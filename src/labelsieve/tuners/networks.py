"""From pixels to logits: an image encoder with a linear head."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from ..backbones import BACKBONES, AbstractBackbone
from ..backbones.image_models import ImageModel, save_image_model
from ..backbones.preprocessing import Preprocessing
from ..core.exceptions import InputError
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


class HubNetwork(AbstractNetwork):
    """An image classification model of transformers; all of it is trained, in float32.

    Parameters
    ----------
    source : ImageModel
        Where it comes from.
    model : torch.nn.Module
        From `ImageModel.build` or `ImageModel.restore`.
    n_classes : int
        K.
    """

    def __init__(self, source: ImageModel, model: Any, n_classes: int):
        super().__init__()
        self.model = model
        self.embed_dim = n_classes
        self.preprocessing = source.preprocessing()
        self.device, self.dtype = source.device, torch.float32

    def forward(self, pixels: Tensor) -> Tensor:
        """See `AbstractNetwork`."""
        return self.model(pixel_values=pixels).logits

    def freeze_unused(self) -> None:
        """Take no gradients of parameters without influence on the logits, such as mask tokens.

        Processes that share a training wait for the gradient of every parameter that has one.
        """
        blank = self.preprocess([Image.new("RGB", (64, 64))])
        self.eval()
        self(blank.to(self.device)).sum().backward()
        for parameter in self.parameters():
            parameter.requires_grad_(parameter.grad is not None)
            parameter.grad = None

    def save(self, folder: Path) -> None:
        """Write a folder that transformers loads; whole or not at all."""
        save_image_model(self.model, self.preprocessing.processor, folder)


def make_network(
    backbone: AbstractBackbone | ImageModel,
    class_names: Sequence[str],
    *,
    visual_tuning: str = "full",
    visual_tuning_params: dict[str, Any] | None = None,
    generator: torch.Generator,
) -> AbstractNetwork:
    """An untrained network on a vision-language model or an image classification model.

    Parameters
    ----------
    backbone : AbstractBackbone or ImageModel
        From `load_encoder`.
    class_names : sequence of str
        K names.
    visual_tuning, visual_tuning_params
        See `TowerNetwork`.
    generator : torch.Generator
        Draws what is not loaded.

    Raises
    ------
    InputError
        If an image classification model is to be tuned in part.
    """
    if isinstance(backbone, AbstractBackbone):
        return TowerNetwork(
            backbone,
            len(class_names),
            visual_tuning=visual_tuning,
            visual_tuning_params=visual_tuning_params,
            generator=generator,
        )
    if visual_tuning != "full" or visual_tuning_params:
        raise InputError(
            f"visual_tuning={visual_tuning!r} needs the vision tower of a vision-language model "
            f"({', '.join(BACKBONES.names())}); {backbone.model_id} ({backbone.model_type}) can "
            "only be trained in full: leave visual_tuning at 'full' and its parameters out"
        )
    network = HubNetwork(backbone, backbone.build(class_names, generator), len(class_names))
    network.freeze_unused()
    return network
