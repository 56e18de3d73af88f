"""Prompts to text features; the common start of all prompts is computed once.

All prompts of a shared context begin with the same tokens (start token and context), and in a
causal tower those never see the class name. So each layer computes them once; the tokens of every
class attend to the common keys and values and to their own. What remains per class are its name,
the period and the end token, packed without padding into one matrix for the linear layers. In the
last layer only the end token is carried on. The result equals the plain computation over the
padded context up to rounding.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import linear, normalize, scaled_dot_product_attention, silu

from ..backbones.base import AbstractBackbone
from ..core.exceptions import InputError
from ..core.validation import check_choice, check_number
from .learner import PromptLearner

METHODS = ("auto", "shared-prefix", "plain")
QUICK_GELU = 1.702


def encode_prompts(
    backbone: AbstractBackbone,
    learner: PromptLearner,
    *,
    method: str = "auto",
    class_chunk: int | None = None,
) -> Tensor:
    """Text features of all prompts of a learner.

    Parameters
    ----------
    backbone : AbstractBackbone
        The model whose text tower is used.
    learner : PromptLearner
        K prompts.
    method : str
        "shared-prefix" (causal towers, one context for all classes, class name at the end),
        "plain" (everything), or "auto": the first where it holds.
    class_chunk : int, optional
        Classes computed together; smaller needs less memory without gradients.

    Returns
    -------
    Tensor
        Shape (K, D), float32, rows of length 1, differentiable in what the learner trains.

    Raises
    ------
    InputError
        If the method is unknown or does not fit the learner.
    """
    check_choice(method, METHODS, name="method")
    if class_chunk is not None:
        check_number(class_chunk, name="class_chunk", low=1, integer=True)
    shareable = has_shared_prefix(backbone, learner)
    if method == "shared-prefix" and not shareable:
        raise InputError(
            "method='shared-prefix' needs a causal text tower (CLIP), a context shared by all "
            "classes and position='end'; use 'auto' or 'plain'"
        )
    shared = shareable and method != "plain"
    n_classes = len(learner.ends)
    step = class_chunk or n_classes
    chunks = [slice(i, i + step) for i in range(0, n_classes, step)]
    if shared:
        return torch.cat([_encode_shared(backbone, learner, chunk) for chunk in chunks])
    embeddings, end = learner()
    return torch.cat([backbone.encode_embeddings(embeddings[c], end[c]) for c in chunks])


def has_shared_prefix(backbone: AbstractBackbone, learner: PromptLearner) -> bool:
    """Whether the prompts of a learner begin alike and the tower is causal."""
    return (
        backbone.causal
        and learner.position == "end"
        and not learner.class_specific
        and min(learner.ends) >= learner.prefix_length
    )


@dataclass(frozen=True)
class _Packing:
    """Where the packed class tokens of k classes are.

    Attributes
    ----------
    prefix : int
        Number P of common tokens, the first rows of the packed matrix (P + T, d).
    lengths : Tensor
        Shape (k,): tokens of each class; the longest has S.
    slots : Tensor
        Shape (T,): position of each packed class token in a padded (k * S) grid.
    last : Tensor
        Shape (k,): row of each class's end token in the packed matrix.
    visible : Tensor
        Shape (S, S), additive mask among the tokens of a class: each sees itself and its past.
    """

    prefix: int
    lengths: Tensor
    longest: int
    slots: Tensor
    last: Tensor
    visible: Tensor

    def pad(self, packed: Tensor) -> Tensor:
        """(T, n, heads, w) -> (n, heads, k, S, w), zeros where a class has fewer tokens."""
        n_classes = len(self.lengths)
        grid = packed.new_zeros(n_classes * self.longest, *packed.shape[1:])
        grid = grid.index_copy(0, self.slots, packed)
        return grid.permute(1, 2, 0, 3).unflatten(2, (n_classes, self.longest))

    def unpad(self, grid: Tensor) -> Tensor:
        """(heads, k, S, w) -> (T, heads * w)."""
        return grid.flatten(1, 2).transpose(0, 1).index_select(0, self.slots).flatten(1)


def _pack(lengths: Tensor, prefix: int, device: torch.device) -> _Packing:
    longest = int(lengths.max())
    inside = torch.arange(longest) < lengths[:, None]
    return _Packing(
        prefix=prefix,
        lengths=lengths.to(device),
        longest=longest,
        slots=inside.flatten().nonzero()[:, 0].to(device),
        last=(prefix + lengths.cumsum(0) - 1).to(device),
        visible=torch.full((longest, longest), float("-inf"), device=device).triu(1),
    )


def _encode_shared(backbone: AbstractBackbone, learner: PromptLearner, chunk: slice) -> Tensor:
    """Features of the classes in `chunk`, (k, D)."""
    model, prefix = backbone.model, learner.prefix_length
    tokens = learner.tokens()[chunk]
    lengths = torch.tensor(learner.ends[chunk]) + 1 - prefix
    packing = _pack(lengths, prefix, tokens.device)
    positions = model.text_model.embeddings.position_embedding.weight
    start = learner.frozen[0, : prefix - learner.n_context]
    own = tokens[:, prefix : prefix + packing.longest] + positions[prefix:][: packing.longest]
    common = torch.cat([start, learner.context]) + positions[:prefix]
    own = own.flatten(0, 1).index_select(0, packing.slots)
    *layers, last = model.text_model.encoder.layers
    parts = [common, own]  # apart in the first layer, where often only one needs a gradient
    for layer in layers:
        normed = [layer.layer_norm1(part) for part in parts]
        hidden = torch.cat(parts) + _attention(layer.self_attn, normed, packing)
        parts = [hidden + _mlp(layer.mlp, layer.layer_norm2(hidden))]
    normed = [last.layer_norm1(part) for part in parts]
    ends = torch.cat(parts).index_select(0, packing.last)
    ends = ends + _end_attention(last.self_attn, normed, packing)
    ends = ends + _mlp(last.mlp, last.layer_norm2(ends))
    ends = model.text_projection(model.text_model.final_layer_norm(ends))
    return normalize(ends.float(), dim=-1)


def _project(module: Any, parts: list[Tensor], names: str) -> Tensor:
    """Several of the projections "q", "k" and "v" as one product: (R, d) -> (R, n, heads, w).

    The rows come in one or more parts, each with its own product and, if needed, gradient.
    """
    layers = [getattr(module, f"{name}_proj") for name in names]
    weight = torch.cat([layer.weight for layer in layers])
    bias = torch.cat([layer.bias for layer in layers])
    projected = torch.cat([linear(part, weight, bias) for part in parts])
    return projected.unflatten(1, (len(names), module.num_heads, -1))


def _attention(module: Any, parts: list[Tensor], packing: _Packing) -> Tensor:
    """Self-attention of all packed tokens, (P + T, d) in parts -> (P + T, d)."""
    projected = _project(module, parts, "qkv")
    common, packed = projected[: packing.prefix], projected[packing.prefix :]
    query, key, value = common.transpose(0, 2).unbind(1)  # each (heads, P, w)
    mixed = scaled_dot_product_attention(
        query[None], key[None], value[None], is_causal=True, scale=module.scale
    )
    own_query, own_key, own_value = packing.pad(packed)
    own = _attend(own_query * module.scale, (key, value), (own_key, own_value), packing.visible)
    return module.out_proj(torch.cat([mixed[0].transpose(0, 1).flatten(1), packing.unpad(own)]))


def _end_attention(module: Any, parts: list[Tensor], packing: _Packing) -> Tensor:
    """Attention of the end tokens only, (P + T, d) in parts -> (k, d)."""
    projected = _project(module, parts, "kv")
    common, packed = projected[: packing.prefix], projected[packing.prefix :]
    key, value = common.transpose(0, 2).unbind(1)
    own_key, own_value = packing.pad(packed)
    ends = _project(module, [torch.cat(parts).index_select(0, packing.last)], "q")
    query = ends.transpose(0, 2) * module.scale  # (heads, 1, k, w)
    visible = packing.visible[packing.lengths - 1][:, None]
    mixed = _attend(query.transpose(1, 2), (key, value), (own_key, own_value), visible)
    return module.out_proj(mixed[:, :, 0].transpose(0, 1).flatten(1))


def _attend(
    query: Tensor, common: tuple[Tensor, Tensor], own: tuple[Tensor, Tensor], visible: Tensor
) -> Tensor:
    """Attention of class tokens to the common tokens and to those of their own class.

    The common keys and values stay one small matrix per head instead of a copy per class.

    Parameters
    ----------
    query : Tensor
        Shape (heads, k, Q, w), scaled.
    common : tuple of Tensor
        Keys and values of the prefix, each (heads, P, w).
    own : tuple of Tensor
        Keys and values of the classes, each (heads, k, S, w), padded.
    visible : Tensor
        Additive mask, broadcastable to (heads, k, Q, S).

    Returns
    -------
    Tensor
        Shape (heads, k, Q, w).
    """
    (common_key, common_value), (own_key, own_value) = common, own
    n = common_key.shape[1]
    flat = query.flatten(1, 2)
    to_common = (flat @ common_key.transpose(1, 2)).view(*query.shape[:3], n)
    to_own = query @ own_key.transpose(2, 3) + visible
    weights = torch.cat([to_common, to_own], dim=-1).softmax(dim=-1)
    from_common = weights[..., :n].flatten(1, 2) @ common_value
    return weights[..., n:] @ own_value + from_common.view_as(query)


def _mlp(module: Any, hidden: Tensor) -> Tensor:
    """The tower's own MLP, (R, d) -> (R, d).

    OpenAI's activation x sigmoid(c x) equals silu(c x) / c; with the factors moved into the two
    products it is one pass over memory each way instead of three.
    """
    from transformers.activations import QuickGELUActivation

    if not isinstance(module.activation_fn, QuickGELUActivation):
        return module(hidden)
    first, second, c = module.fc1, module.fc2, QUICK_GELU
    inner = torch.addmm(first.bias, hidden, first.weight.T, beta=c, alpha=c)
    return torch.addmm(second.bias, silu(inner), second.weight.T, alpha=1 / c)
