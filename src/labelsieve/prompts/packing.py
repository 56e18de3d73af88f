"""Attention among packed prompts: the common start once, each class with its own tokens.

The matrix of a pass holds, for each group of prompts, the P common tokens and then the T tokens of
the classes, one class after the other and without padding.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from .frozen_tower import Block


@dataclass(frozen=True)
class Packing:
    """Where the tokens of one group are in the packed matrix.

    Attributes
    ----------
    first : int
        Row of the first common token.
    prefix : int
        Number P of common tokens.
    lengths : Tensor
        Shape (k,): tokens of each class; the longest has S.
    slots : Tensor
        Shape (T,): position of each packed class token in a padded (k * S) grid.
    visible : Tensor
        Shape (S, S), additive mask among the tokens of a class: each sees itself and its past.
    """

    first: int
    prefix: int
    lengths: Tensor
    longest: int
    slots: Tensor
    visible: Tensor

    @property
    def split(self) -> tuple[slice, slice]:
        """Rows of the common tokens, and rows of the class tokens."""
        middle = self.first + self.prefix
        return slice(self.first, middle), slice(middle, middle + len(self.slots))

    @property
    def inside(self) -> Tensor:
        """Position of each packed class token within its class, (T,)."""
        return self.slots % self.longest

    @property
    def ends(self) -> Tensor:
        """Rows of the end tokens, (k,)."""
        return self.first + self.prefix + self.lengths.cumsum(0) - 1

    def pad(self, packed: Tensor) -> Tensor:
        """(T, n, heads, w) -> (n, heads, k, S, w), zeros where a class has fewer tokens."""
        n_classes = len(self.lengths)
        grid = packed.new_zeros(n_classes * self.longest, *packed.shape[1:])
        grid = grid.index_copy(0, self.slots, packed)
        return grid.permute(1, 2, 0, 3).unflatten(2, (n_classes, self.longest))

    def unpad(self, grid: Tensor) -> Tensor:
        """(heads, k, S, w) -> (T, heads * w)."""
        return grid.flatten(1, 2).transpose(0, 1).index_select(0, self.slots).flatten(1)


def pack(first: int, prefix: int, ends: tuple[int, ...], device: torch.device) -> Packing:
    """The packing of k classes with end tokens at positions `ends`, from row `first` on."""
    lengths = torch.tensor(ends) + 1 - prefix
    longest = max(ends) + 1 - prefix
    inside = torch.arange(longest) < lengths[:, None]
    return Packing(
        first=first,
        prefix=prefix,
        lengths=lengths.to(device),
        longest=longest,
        slots=inside.flatten().nonzero()[:, 0].to(device),
        visible=torch.full((longest, longest), float("-inf"), device=device).triu(1),
    )


def self_attention(block: Block, parts: list[Tensor], packings: list[Packing]) -> Tensor:
    """Self-attention of all packed tokens, (R, d) in parts -> (R, d)."""
    projected, mixed = block.project(parts, slice(0, 3)), []
    for packing in packings:
        common, packed = (projected[rows] for rows in packing.split)
        query, key, value = common.transpose(0, 2).unbind(1)  # each (heads, P, w)
        start = scaled_dot_product_attention(
            query[None], key[None], value[None], is_causal=True, scale=1.0
        )
        own_query, own_key, own_value = packing.pad(packed)
        own = _attend(own_query, (key, value), (own_key, own_value), packing.visible)
        mixed += [start[0].transpose(0, 1).flatten(1), packing.unpad(own)]
    return block.out(torch.cat(mixed))


def end_attention(block: Block, parts: list[Tensor], packings: list[Packing]) -> Tensor:
    """Attention of the end tokens only, (R, d) in parts -> (k, d) of all groups."""
    projected, mixed = block.project(parts, slice(1, 3)), []
    rows = torch.cat(parts)
    for packing in packings:
        common, packed = (projected[rows] for rows in packing.split)
        key, value = common.transpose(0, 2).unbind(1)
        own_key, own_value = packing.pad(packed)
        ends = block.project([rows.index_select(0, packing.ends)], slice(0, 1))
        query = ends.transpose(0, 2).transpose(1, 2)  # (heads, k, 1, w)
        visible = packing.visible[packing.lengths - 1][:, None]
        found = _attend(query, (key, value), (own_key, own_value), visible)
        mixed.append(found[:, :, 0].transpose(0, 1).flatten(1))
    return block.out(torch.cat(mixed))


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
    weights = weights.to(query.dtype)
    from_common = weights[..., :n].flatten(1, 2) @ common_value
    return weights[..., n:] @ own_value + from_common.view_as(query)
