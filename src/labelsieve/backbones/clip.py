"""CLIP (Radford et al., 2021): a causal text tower, read out at the end-of-text token."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .base import AbstractBackbone

OLD_EOS_ID = 2  # configs from before transformers 4.30 carry this wrong id


class ClipBackbone(AbstractBackbone):
    """Adapter over `transformers.CLIPModel`."""

    causal = True

    @property
    def embed_dim(self) -> int:
        """Width D of the shared embedding space."""
        return int(self.model.config.projection_dim)

    @property
    def logit_bias(self) -> float:
        """CLIP's logits have no bias."""
        return 0.0

    def pooled_positions(self, ids: Tensor) -> Tensor:
        """The first end-of-text token; for configs with the old wrong id, the largest id."""
        eos = self.model.config.text_config.eos_token_id
        if eos == OLD_EOS_ID:
            return ids.argmax(dim=-1)
        return (ids == eos).int().argmax(dim=-1)

    def encode_embeddings(self, embeddings: Tensor, end: Tensor) -> Tensor:
        """See `AbstractBackbone.encode_embeddings`; the tower of the transformers model itself."""
        tower = self.model.text_model
        length = embeddings.shape[1]
        positions = tower.embeddings.position_embedding.weight[:length]
        hidden = embeddings.to(positions.dtype) + positions
        hidden = tower.encoder(
            inputs_embeds=hidden, attention_mask=causal_mask(hidden)
        ).last_hidden_state
        pooled = hidden[torch.arange(len(end), device=hidden.device), end]
        return normalize(self.model.text_projection(tower.final_layer_norm(pooled)).float(), dim=-1)

    def image_embeddings(self, pixels: Tensor) -> Tensor:
        """Class token of the vision tower, projected."""
        return self.model.visual_projection(self.pooled_images(pixels))


def causal_mask(hidden: Tensor) -> Tensor:
    """Additive mask (1, 1, L, L): 0 on and below the diagonal, the lowest number above it.

    Explicit, since it means the same to every attention implementation of transformers.
    """
    length = hidden.shape[1]
    lowest = torch.finfo(hidden.dtype).min
    full = torch.full((length, length), lowest, dtype=hidden.dtype, device=hidden.device)
    return full.triu(1)[None, None]
