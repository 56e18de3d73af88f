"""The weights of a text tower, made ready once for the products of every step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor
from torch.nn.functional import linear, silu

QUICK_GELU = 1.702
_READY: WeakKeyDictionary[Any, dict[torch.dtype, tuple[Any, FrozenTower]]] = WeakKeyDictionary()


@dataclass(frozen=True)
class Product:
    """A linear layer in the precision of the pass."""

    weight: Tensor
    bias: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        """(R, d) in any precision -> (R, e) in that of the weight."""
        return linear(x.to(self.weight.dtype), self.weight, self.bias)

    def rows(self, first: int, last: int) -> Product:
        """The part that gives the outputs `first` to `last`."""
        bias = None if self.bias is None else self.bias[first:last]
        return Product(self.weight[first:last], bias)


@dataclass(frozen=True)
class Block:
    """One layer: queries (scaled), keys and values as one product, and the MLP's two.

    OpenAI's activation x sigmoid(c x) equals silu(c x) / c; with the factors moved into the two
    products it is one pass over memory each way instead of three.
    """

    heads: int
    norm1: Callable[[Tensor], Tensor]
    norm2: Callable[[Tensor], Tensor]
    qkv: Product
    out: Product
    fc1: Product
    activation: Callable[[Tensor], Tensor]
    fc2: Product

    def project(self, parts: list[Tensor], which: slice) -> Tensor:
        """Queries, keys and values (0, 1, 2) of rows in parts: (R, d) -> (R, n, heads, w).

        Each part has its own product and, if needed, gradient.
        """
        width = len(self.out.weight)
        product = self.qkv.rows(which.start * width, which.stop * width)
        projected = torch.cat([product(part) for part in parts])
        return projected.unflatten(1, (which.stop - which.start, self.heads, -1))

    def mlp(self, hidden: Tensor) -> Tensor:
        """(R, d) -> (R, d)."""
        return self.fc2(self.activation(self.fc1(self.norm2(hidden))))


@dataclass(frozen=True)
class FrozenTower:
    """All layers, the positions (L, d), and what follows the last layer."""

    blocks: list[Block]
    positions: Tensor
    head: Callable[[Tensor], Tensor]


def frozen_tower(model: Any, dtype: torch.dtype) -> FrozenTower:
    """The text tower of a CLIP of transformers; made once for each model and precision.

    It is made anew when a weight has changed, and not kept where one is being trained.

    Parameters
    ----------
    model : CLIPModel
        Has `text_model` and `text_projection`.
    dtype : torch.dtype
        Of the products; norms, positions and the projection at the end stay as they are.
    """
    weights = [*model.text_model.parameters(), *model.text_projection.parameters()]
    if any(weight.requires_grad for weight in weights):
        return _make(model, dtype)
    acts = [layer.mlp.activation_fn for layer in model.text_model.encoder.layers]
    # An inference tensor has no version, but is never changed in place by training.
    state = [(id(w), w.data_ptr(), 0 if w.is_inference() else w._version) for w in weights], acts
    kept = _READY.setdefault(model, {})
    if dtype not in kept or kept[dtype][0] != state:
        with torch.inference_mode(False), torch.no_grad():
            kept[dtype] = (state, _make(model, dtype))
    return kept[dtype][1]


def _make(model: Any, dtype: torch.dtype) -> FrozenTower:
    text = model.text_model
    return FrozenTower(
        [_block(layer, dtype) for layer in text.encoder.layers],
        text.embeddings.position_embedding.weight,
        lambda ends: model.text_projection(text.final_layer_norm(ends)),
    )


def _block(layer: Any, dtype: torch.dtype) -> Block:
    from transformers.activations import QuickGELUActivation

    attention, mlp = layer.self_attn, layer.mlp
    quick = isinstance(mlp.activation_fn, QuickGELUActivation)
    c = QUICK_GELU if quick else 1.0
    query = (attention.q_proj.weight * attention.scale, attention.q_proj.bias * attention.scale)
    key, value = attention.k_proj, attention.v_proj
    return Block(
        attention.num_heads,
        layer.layer_norm1,
        layer.layer_norm2,
        _product(
            torch.cat([query[0], key.weight, value.weight]),
            torch.cat([query[1], key.bias, value.bias]),
            dtype,
        ),
        _product(attention.out_proj.weight, attention.out_proj.bias, dtype),
        _product(mlp.fc1.weight * c if quick else mlp.fc1.weight, mlp.fc1.bias * c, dtype),
        silu if quick else mlp.activation_fn,
        _product(mlp.fc2.weight / c if quick else mlp.fc2.weight, mlp.fc2.bias, dtype),
    )


def _product(weight: Tensor, bias: Tensor, dtype: torch.dtype) -> Product:
    return Product(weight.to(dtype), bias.to(dtype))
