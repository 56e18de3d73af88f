"""What the tests of several methods need."""

from __future__ import annotations

import torch

from labelsieve.visual_tuning import make_visual_tuning


def seed(value=0):
    return torch.Generator().manual_seed(value)


def make(name, backbone, value=0, **params):
    return make_visual_tuning(name, backbone, generator=seed(value), params=params)


def shake(tuning, size=0.1):
    """Move every parameter off its start, so that none of them is without effect."""
    generator = seed(9)
    with torch.no_grad():
        for parameter in tuning.parameters():
            parameter.add_(size * torch.randn(parameter.shape, generator=generator))
    return tuning


@torch.no_grad()
def run(backbone, pixels, tuning=None):
    """Pooled outputs (B, W), with a tuning attached if one is given."""
    if tuning is None:
        return backbone.pooled_images(pixels)
    with tuning.attached(backbone):
        return backbone.pooled_images(pixels)


@torch.no_grad()
def textbook(backbone, pixels, block):
    """The tower written out, with `block(number, layer, hidden)` for each block.

    The last block may leave more tokens than there were; they are dropped before pooling.
    """
    tower = backbone.vision_tower
    hidden = tower.embeddings(pixels)
    n_tokens = hidden.shape[1]
    if hasattr(tower, "pre_layrnorm"):
        hidden = tower.pre_layrnorm(hidden)
    for number, layer in enumerate(tower.encoder.layers):
        hidden = block(number, layer, hidden)
    hidden = tower.post_layernorm(hidden[:, :n_tokens])
    return tower.head(hidden) if hasattr(tower, "head") else hidden[:, 0]


def attention(layer, normed, after=lambda name, y: y):
    """Multi-head self-attention of one block; `after` changes the output of each linear layer."""
    part = layer.self_attn
    heads = {}
    for name in ("q_proj", "k_proj", "v_proj"):
        y = after(name, getattr(part, name)(normed))
        heads[name] = y.unflatten(-1, (part.num_heads, -1)).transpose(1, 2)
    scores = heads["q_proj"] @ heads["k_proj"].transpose(-1, -2) / part.head_dim**0.5
    mixed = (scores.softmax(dim=-1) @ heads["v_proj"]).transpose(1, 2).flatten(-2)
    return after("out_proj", part.out_proj(mixed))
