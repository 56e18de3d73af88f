"""Which token stands where in the prompt of a class."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from ..backbones.base import AbstractBackbone
from ..core.exceptions import gather


@dataclass(frozen=True)
class Layout:
    """One prompt: frozen token ids, and the order of frozen (i >= 0) and context (-1-j) slots.

    `name` are the slots of the class name.
    """

    tokens: list[int]
    order: list[int]
    name: list[int]
    end: int


def layouts(
    backbone: AbstractBackbone, class_names: tuple[str, ...], n_context: int, position: str
) -> list[Layout]:
    """The prompts of all classes.

    Raises
    ------
    InputError
        If a class name is too long for the context length.
    """
    rows = [_layout(backbone, name, n_context, position) for name in class_names]
    limit = backbone.context_length
    problems = [
        f"{name!r} with {n_context} context tokens needs {len(row.order)} tokens, but "
        f"{backbone.model_id} takes at most {limit}; shorten the name or the context"
        for name, row in zip(class_names, rows, strict=True)
        if len(row.order) > limit
    ]
    gather(problems, what="class names for prompts")
    return rows


def _layout(backbone: AbstractBackbone, name: str, n_context: int, position: str) -> Layout:
    """Tokens and layout of one class; CoOp's, for all three positions."""
    words = " ".join(name.replace("_", " ").split())
    start, stop = backbone.frame
    body = _continuation(backbone, f"{words}.")
    n_name = min(len(_continuation(backbone, words)), len(body))
    tokens = [*start, *body, *stop]
    context = [-1 - j for j in range(n_context)]
    first, last = len(start), len(start) + n_name
    before = {"end": n_context, "middle": n_context // 2, "front": 0}[position]
    order = [
        *range(first),
        *context[:before],
        *range(first, last),
        *context[before:],
        *range(last, len(tokens)),
    ]
    name_slots = [order.index(source) for source in range(first, last)]
    if not backbone.causal:
        return Layout(tokens, order, name_slots, backbone.context_length - 1)
    pooled = int(backbone.pooled_positions(torch.tensor([tokens]))[0])
    return Layout(tokens, order, name_slots, order.index(pooled))


def _continuation(backbone: AbstractBackbone, text: str) -> list[int]:
    """Tokens of a text that follows other words (some tokenizers mark the space before it)."""
    lead, both = backbone.token_ids("a"), backbone.token_ids(f"a {text}")
    joined = both[: len(lead)] == lead and len(both) > len(lead)
    return both[len(lead) :] if joined else backbone.token_ids(text)
