"""Models of open_clip: the ResNet CLIPs (RN50 and its kin), and ViTs that only exist there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..core.device import resolve_device, resolve_dtype
from ..core.exceptions import InputError, MissingExtraError, ModelUnavailableError
from .base import AbstractBackbone
from .clip import causal_mask
from .open_clip_parts import Parts, Tokenizer, check_model, image_processor

SCHEMES = ("open_clip:", "hf-hub:", "local-dir:")


class OpenClipBackbone(AbstractBackbone):
    """Adapter over `open_clip.CLIP`.

    The image tower is open_clip's own, run in evaluation mode, so the batch norms of a ResNet keep
    their statistics. The text tower is brought into the form of transformers, weight by weight:
    so prompts are encoded by the same code as for `ClipBackbone`, the shared prefix included.

    `pooled_images` is the image embedding itself, since a ResNet's attention pooling contains its
    projection.
    """

    causal = True

    @property
    def embed_dim(self) -> int:
        """Width D of the shared embedding space."""
        return int(self.model.config.projection_dim)

    @property
    def logit_bias(self) -> float:
        """The learned bias of models trained with the sigmoid loss, else 0."""
        return float(self.model.config.logit_bias)

    def pooled_positions(self, ids: Tensor) -> Tensor:
        """The end token: the largest id, or the first one of the id that the model names."""
        eos = self.model.config.text_config.eos_token_id
        return ids.argmax(dim=-1) if eos is None else (ids == eos).int().argmax(dim=-1)

    def encode_embeddings(self, embeddings: Tensor, end: Tensor) -> Tensor:
        """See `AbstractBackbone.encode_embeddings`."""
        tower = self.model.text_model
        positions = tower.embeddings.position_embedding.weight[: embeddings.shape[1]]
        hidden = embeddings.to(positions.dtype) + positions
        hidden = tower.encoder(
            inputs_embeds=hidden, attention_mask=causal_mask(hidden)
        ).last_hidden_state
        pooled = hidden[torch.arange(len(end), device=hidden.device), end]
        return normalize(self.model.text_projection(tower.final_layer_norm(pooled)).float(), dim=-1)

    def pooled_images(self, pixels: Tensor) -> Tensor:
        """Image embeddings, (B, 3, H, W) -> (B, D), in the encoder's precision."""
        with self.own_precision(pixels):
            return self.vision_tower(pixels.to(self.dtype))

    def image_embeddings(self, pixels: Tensor) -> Tensor:
        """See `AbstractBackbone.image_embeddings`."""
        return self.pooled_images(pixels)


def load_open_clip(
    model: str, *, device: str = "auto", dtype: str = "auto", offline: bool = False
) -> OpenClipBackbone:
    """Load a model of open_clip, frozen and in evaluation mode.

    Parameters
    ----------
    model : str
        ``open_clip:NAME/WEIGHTS`` with a name and a tag of `open_clip.list_pretrained()` (or a file
        of weights in place of the tag), such as ``open_clip:RN50/openai``; or ``hf-hub:OWNER/REPO``
        or ``local-dir:PATH``, as open_clip reads them.
    device, dtype, offline
        See `load_backbone`.

    Raises
    ------
    MissingExtraError
        If open_clip is not installed.
    InputError
        If the name is malformed, or the model has a text tower of another kind.
    ModelUnavailableError
        If the weights are neither here nor reachable.
    """
    open_clip = _import()
    place = resolve_device(device)
    name, weights = _split(model)
    try:
        with _offline(offline):
            found = open_clip.create_model(name, pretrained=weights, precision="fp32")
            tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # open_clip lets through whatever its many sources raise
        raise ModelUnavailableError(
            f"open_clip cannot load {model!r}: {type(error).__name__}: {error}. "
            "`python -c 'import open_clip; print(open_clip.list_pretrained())'` lists what it knows"
        ) from error
    return adapt_open_clip(
        found, tokenizer, model_id=model, device=place, dtype=resolve_dtype(dtype, place)
    )


def adapt_open_clip(
    model: Any,
    tokenizer: Any,
    *,
    model_id: str,
    device: torch.device | None = None,
    dtype: torch.dtype = torch.float32,
) -> OpenClipBackbone:
    """A backbone of a model that open_clip has made.

    Parameters
    ----------
    model : open_clip.CLIP
        Its image tower is used as it is; it is frozen.
    tokenizer : open_clip.SimpleTokenizer
        Of the model.
    model_id : str
        What it shall be called.
    device, dtype
        Where it shall live (default is the CPU), and the precision of the image tower.

    Raises
    ------
    InputError
        If the text tower is not a causal transformer read out at its end token.
    """
    check_model(model, tokenizer, model_id)
    device = torch.device("cpu") if device is None else device
    parts = Parts(model)
    parts.eval().requires_grad_(False)
    parts.vision_model.to(dtype)
    return OpenClipBackbone(
        parts.to(device),
        Tokenizer(tokenizer),
        image_processor(model.visual, model_id),
        model_id=model_id,
        commit=None,
        weights_hash=partial(_hash, parts),
        device=device,
        dtype=dtype,
    )


def _import() -> Any:
    try:
        import open_clip  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingExtraError(
            f"models of open_clip need a package that is not installed ({error}); "
            "run: pip install 'labelsieve[open-clip]'"
        ) from error
    return open_clip


def _split(model: str) -> tuple[str, str | None]:
    """What open_clip calls name and weights."""
    if not model.startswith("open_clip:"):
        return model, None
    name, slash, weights = model.removeprefix("open_clip:").partition("/")
    if not (name and slash and weights):
        raise InputError(
            f"{model!r} does not name weights; write open_clip:NAME/WEIGHTS, such as "
            "open_clip:RN50/openai"
        )
    return name, weights


def _hash(parts: nn.Module) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for name, value in sorted(parts.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().float().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


@contextmanager
def _offline(offline: bool) -> Iterator[None]:
    """Keep the hub client from asking, as its environment variable would."""
    from huggingface_hub import constants

    before = constants.HF_HUB_OFFLINE
    constants.HF_HUB_OFFLINE = before or offline
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = before
