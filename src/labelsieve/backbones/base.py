"""The contract between a vision-language model and everything above it."""

from __future__ import annotations

import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

from ..core.exceptions import InputError
from .preprocessing import Preprocessing

FEATURE_RULES = 2
"""Raised when decoding changes, so that cached features of the old rules are not used."""


@dataclass(frozen=True)
class Tokens:
    """Token ids with the position at which each text is read out.

    Attributes
    ----------
    ids : Tensor
        Shape (K, L), int64, padded to the context length.
    end : Tensor
        Shape (K,), int64: the pooled position of each row.
    """

    ids: Tensor
    end: Tensor


class AbstractBackbone(ABC):
    """A frozen image encoder and text encoder that share one embedding space.

    Parameters
    ----------
    model : torch.nn.Module
        The transformers model: in evaluation mode, frozen, on its device.
    tokenizer, processor : object
        The tokenizer and the image processor that belong to it.
    model_id : str
        Hub id, or the name of the directory it was loaded from.
    commit : str or None
        Hub commit, or None for a local directory.
    origin : str, optional
        What `load_backbone` needs to load it again: the hub id, or the absolute path of a local
        directory; by default the `model_id`.
    weights_hash : callable
        Returns a digest of the weights; called only when there is no commit.
    device, dtype
        Where the model lives; the precision of the image encoder. The text encoder stays in
        float32, since prompts are trained through it.

    Notes
    -----
    Subclasses set `causal` (whether a token sees only the tokens before it, so that padding after
    the pooled position never matters) and implement the five abstract methods.
    """

    causal: bool

    def __init__(
        self,
        model: Any,
        tokenizer: Any,
        processor: Any,
        *,
        model_id: str,
        commit: str | None,
        origin: str | None = None,
        weights_hash: Any,
        device: torch.device,
        dtype: torch.dtype,
    ):
        self.model = model
        self.tokenizer = tokenizer
        self.processor = processor
        self.model_id = model_id
        self.origin = model_id if origin is None else origin
        self.commit = commit
        self.weights_hash = weights_hash
        self.device = device
        self.dtype = dtype
        config = model.config
        self.image_size = int(config.vision_config.image_size)
        self.pooled_width = int(config.vision_config.hidden_size)
        self.text_width = int(config.text_config.hidden_size)
        self.context_length = int(config.text_config.max_position_embeddings)
        self.logit_scale = float(model.logit_scale.detach().float().exp())

    def __sklearn_clone__(self) -> AbstractBackbone:
        """Estimators share a backbone, and so do their clones; it is frozen."""
        return self

    @property
    @abstractmethod
    def embed_dim(self) -> int:
        """Width D of the shared embedding space."""

    @property
    @abstractmethod
    def logit_bias(self) -> float:
        """The constant that the model adds to its logits (0 for CLIP)."""

    @abstractmethod
    def pooled_positions(self, ids: Tensor) -> Tensor:
        """Read-out position of each row of token ids: (K, L) int64 -> (K,) int64."""

    @abstractmethod
    def encode_embeddings(self, embeddings: Tensor, end: Tensor) -> Tensor:
        """Run the text encoder on token embeddings; differentiable in `embeddings`.

        Parameters
        ----------
        embeddings : Tensor
            Shape (K, L, d), without positions. A causal encoder takes any L up to the context
            length; others need the full context length.
        end : Tensor
            Shape (K,), the pooled position of each row.

        Returns
        -------
        Tensor
            Shape (K, D), float32, rows of length 1.
        """

    @property
    def vision_tower(self) -> Any:
        """The image encoder without its projection: the transformers module itself."""
        return self.model.vision_model

    def pooled_images(self, pixels: Tensor) -> Tensor:
        """Output of the vision tower before any projection, in the encoder's precision.

        Parameters
        ----------
        pixels : Tensor
            Shape (B, 3, H, W), preprocessed, on the backbone's device.

        Returns
        -------
        Tensor
            Shape (B, W) with W = `pooled_width`: the normed class token of CLIP, the attention
            pooling of SigLIP. Differentiable in what the tower runs with.
        """
        with self.own_precision(pixels):
            return self.vision_tower(pixel_values=pixels.to(self.dtype)).pooler_output

    def own_precision(self, pixels: Tensor) -> AbstractContextManager[Any]:
        """Keep a tower in half precision out of `torch.autocast` in the other half precision.

        Torch cannot join tensors of both.
        """
        place = pixels.device.type
        halves = {self.dtype, torch.get_autocast_dtype(place)} == {torch.float16, torch.bfloat16}
        if halves and torch.is_autocast_enabled(place):
            return torch.autocast(place, enabled=False)
        return nullcontext()

    @abstractmethod
    def image_embeddings(self, pixels: Tensor) -> Tensor:
        """Unnormalised image features, (B, 3, H, W) -> (B, D), in the encoder's precision."""

    @cached_property
    def fingerprint(self) -> str:
        """Identifies everything that image features depend on; the key of the feature cache."""
        digest = processor_digest(self.processor)
        version = self.commit or self.weights_hash()
        precision = str(self.dtype).removeprefix("torch.")
        return f"{self.model_id}@{version} {digest} {precision} rules-{FEATURE_RULES}"

    @cached_property
    def preprocessing(self) -> Preprocessing:
        """The image processor, in a whole and in two halves."""
        return Preprocessing(self.processor)

    def preprocess(self, images: Sequence[Image.Image]) -> Tensor:
        """Resize, crop and normalise PIL images: -> (B, 3, H, W) float32 on the CPU."""
        return self.preprocessing(images)

    def encode_images(self, pixels: Tensor) -> Tensor:
        """Image features of preprocessed images: (B, 3, H, W) -> (B, D) float32, L2-normalised."""
        return normalize(self.image_embeddings(pixels.to(self.device)).float(), dim=-1)

    def token_ids(self, text: str) -> list[int]:
        """Token ids of a text alone, without start, end and padding.

        CLIP's tokenizers have the end token for what they do not know; there the text would end.
        """
        ids = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return [i for i in ids if i != self.tokenizer.eos_token_id]

    @cached_property
    def frame(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """The ids that the tokenizer puts before and after a text: (start, end)."""
        bare, framed = self.token_ids("a"), list(self.tokenizer("a")["input_ids"])
        at = next(i for i in range(len(framed)) if framed[i : i + len(bare)] == bare)
        return tuple(framed[:at]), tuple(framed[at + len(bare) :])

    @property
    def pad_id(self) -> int:
        """The id that fills a row up to the context length."""
        return int(self.tokenizer.pad_token_id)

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """Token ids, padded on the right to the context length.

        Raises
        ------
        InputError
            If a text is longer than the context; the message names it, its length and the limit.
        """
        start, stop = self.frame
        rows = [[*start, *self.token_ids(text), *stop] for text in texts]
        for text, row in zip(texts, rows, strict=True):
            self.check_length(text, len(row))
        padded = [row + [self.pad_id] * (self.context_length - len(row)) for row in rows]
        ids = torch.tensor(padded, dtype=torch.long).reshape(len(rows), self.context_length)
        return Tokens(ids.to(self.device), self.pooled_positions(ids).to(self.device))

    def check_length(self, text: str, n_tokens: int) -> None:
        """Raise `InputError` if a text of `n_tokens` tokens does not fit into the context."""
        if n_tokens > self.context_length:
            raise InputError(
                f"the text {text!r} needs {n_tokens} tokens, but {self.model_id} takes at most "
                f"{self.context_length}; use a shorter class name, template or context"
            )

    def embed_tokens(self, ids: Tensor) -> Tensor:
        """Token embeddings without positions: (..., L) int64 -> (..., L, d) float32."""
        table = self.model.text_model.embeddings.token_embedding
        return table(ids.to(self.device))

    @torch.no_grad()
    def encode_texts(self, texts: Sequence[str], batch_size: int = 256) -> Tensor:
        """Text features: K texts -> (K, D) float32, L2-normalised, on the backbone's device.

        Raises
        ------
        InputError
            If a text is longer than the context.
        """
        tokens = self.tokenize(texts)
        parts = []
        for first in range(0, len(texts), batch_size):
            ids, end = (t[first : first + batch_size] for t in (tokens.ids, tokens.end))
            if self.causal:  # what follows the pooled position cannot change it
                ids = ids[:, : int(end.max()) + 1]
            parts.append(self.encode_embeddings(self.embed_tokens(ids), end))
        return torch.cat(parts) if parts else torch.zeros(0, self.embed_dim, device=self.device)


def processor_digest(processor: Any) -> str:
    """A short hash of the settings of an image processor."""
    settings = json.dumps(processor.to_dict(), sort_keys=True, default=str)
    return hashlib.blake2b(settings.encode(), digest_size=8).hexdigest()
