"""SigLIP (Zhai et al., 2023) and fixed-resolution SigLIP 2 (Tschannen et al., 2025)."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from .base import AbstractBackbone


class SiglipBackbone(AbstractBackbone):
    """Adapter over `transformers.SiglipModel`.

    The text tower is not causal, always sees the full context with its padding unmasked (as in
    training), and is read out at the last position. Fixed-resolution SigLIP 2 checkpoints have
    the same model type.
    """

    causal = False

    @property
    def embed_dim(self) -> int:
        """Width D of the shared embedding space."""
        return int(self.model.config.text_config.projection_size)

    @property
    def logit_bias(self) -> float:
        """The learned bias of the sigmoid loss."""
        return float(self.model.logit_bias.detach().float())

    def pooled_positions(self, ids: Tensor) -> Tensor:
        """The last position of every row."""
        return torch.full((len(ids),), ids.shape[1] - 1, dtype=torch.long, device=ids.device)

    def encode_embeddings(self, embeddings: Tensor, end: Tensor) -> Tensor:
        """See `AbstractBackbone.encode_embeddings`; needs the full context length."""
        tower = self.model.text_model
        positions = tower.embeddings.position_embedding.weight
        hidden = embeddings.to(positions.dtype) + positions
        hidden = tower.encoder(inputs_embeds=hidden, attention_mask=None).last_hidden_state
        pooled = hidden[torch.arange(len(end), device=hidden.device), end]
        return normalize(tower.head(tower.final_layer_norm(pooled)).float(), dim=-1)

    def image_embeddings(self, pixels: Tensor) -> Tensor:
        """Attention-pooled output of the vision tower; SigLIP has no projection after it."""
        return self.pooled_images(pixels)
