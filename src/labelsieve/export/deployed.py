"""A fitted classifier as one module without labelsieve around it: pixels to probabilities."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from PIL import Image
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..backbones.preprocessing import Preprocessing
from ..core.exceptions import InputError
from ..tuners import AbstractTuner
from ..tuners.networks import AbstractNetwork


class Deployed(nn.Module):
    """Normalised pixels (B, 3, H, W) to logits and probabilities, (B, K) each, float32.

    Parameters
    ----------
    encoder : Module
        What computes, so that its parameters belong to this module.
    head : callable
        Pixels to logits.
    preprocessing : Preprocessing
        From PIL images to pixels.

    Attributes
    ----------
    shape : tuple of int
        (3, H, W) of one preprocessed image.
    """

    def __init__(self, encoder: nn.Module, head: Any, preprocessing: Preprocessing):
        super().__init__()
        self.encoder, self.head, self.preprocessing = encoder, head, preprocessing
        self.shape = tuple(preprocessing([Image.new("RGB", (64, 64))]).shape[1:])

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Logits and probabilities."""
        logits = self.head(pixel_values).float()
        return logits, logits.softmax(dim=-1)


@contextmanager
def deployed(tuner: AbstractTuner) -> Iterator[Deployed]:
    """The module of a fitted tuner; the encoder runs as it was tuned inside the block.

    Visual tunings that can be merged into the encoder's weights are, so that they cost nothing.

    Parameters
    ----------
    tuner : AbstractTuner
        Fitted or loaded.

    Raises
    ------
    InputError
        If its classifier is neither a network nor a head on image features.
    """
    classifier = tuner.classifier_
    with ExitStack() as stack:
        if isinstance(classifier, AbstractNetwork):
            yield _of_network(classifier, stack)
        elif hasattr(classifier, "logits"):
            yield _of_features(tuner, stack)
        else:
            raise InputError(
                f"the tuner {tuner.name!r} cannot be exported: its classifier "
                f"({type(classifier).__name__}) gives no logits"
            )


def _of_network(network: AbstractNetwork, stack: ExitStack) -> Deployed:
    tuning, backbone = getattr(network, "tuning", None), getattr(network, "backbone", None)
    if tuning is not None and tuning.mergeable:
        stack.enter_context(tuning.merged(backbone))
    else:
        stack.enter_context(network.active())
    network.eval()
    encoder = nn.ModuleList([network] if backbone is None else [network, backbone.vision_tower])
    return Deployed(encoder, network.forward, network.preprocessing).eval()


def _of_features(tuner: AbstractTuner, stack: ExitStack) -> Deployed:
    backbone, classifier, tuning = tuner.backbone_, tuner.classifier_, tuner.visual_tuning_
    if tuning is not None:
        tuning.eval()
        way = tuning.merged if tuning.mergeable else tuning.attached
        stack.enter_context(way(backbone))

    def head(pixels: Tensor) -> Tensor:
        return classifier.logits(normalize(backbone.image_embeddings(pixels).float(), dim=-1))

    # The text tower is not in it: the exporter would leave it out, but its size would count.
    parts = [backbone.vision_tower, getattr(backbone.model, "visual_projection", None), tuning]
    encoder = nn.ModuleList(part for part in parts if part is not None)
    return Deployed(encoder, head, backbone.preprocessing).eval()
