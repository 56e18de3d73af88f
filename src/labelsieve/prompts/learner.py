"""Learnable context tokens around class-name tokens (CoOp; Zhou et al., IJCV 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..backbones.base import AbstractBackbone
from ..core.exceptions import InputError
from ..core.random import torch_generator
from ..core.validation import check_choice, check_class_names, check_number
from .class_tokens import CLASS_TOKENS, TUNED, random_like, shuffled_names
from .layout import Layout, layouts

POSITIONS = ("end", "middle", "front")
INITIAL_STD = 0.02


class PromptLearner(nn.Module):
    """Prompts "<context> class name." with a trainable context, trainable names, or both.

    Parameters
    ----------
    backbone : AbstractBackbone
        Gives tokens and token embeddings; it is not changed and not kept.
    class_names : sequence of str
        K names; underscores are read as spaces.
    n_context : int
        Number M of context tokens.
    position : str
        Where the class name stands: "end" (start | context | name | .), "middle" (half of the
        context before it; an odd M has the longer half after it) or "front" (start | name |
        context | .).
    class_specific : bool
        Whether every class has a context of its own.
    initial_text : str, optional
        Words whose token embeddings start the context; M is then their number of tokens. Without
        it the context is drawn from N(0, 0.02^2).
    class_tokens : str
        What stands in the place of the class name: "names" (frozen), "random" (frozen vectors as
        many as the name has tokens), "shuffled" (the frozen name of another class), "tuned" (the
        name, trained with the context) or "tuned-only" (the name, trained with a frozen context).
    generator : torch.Generator, optional
        A CPU generator for the draws; default is one seeded with 0.

    Attributes
    ----------
    context : Parameter
        Shape (M, d) or (K, M, d), float32; frozen with class_tokens="tuned-only".
    name_tokens : Parameter or None
        Shape (T, d), float32: the tokens of all class names one after the other, where they are
        trained.
    prefix_length : int
        Leading tokens that all prompts share: the start tokens, and what stands of a shared
        context before the class name.
    end : Tensor
        Shape (K,): pooled position of each prompt.

    Raises
    ------
    InputError
        If an argument is not allowed, or a class name is too long for the context length.
    """

    context: nn.Parameter
    name_tokens: nn.Parameter | None
    table: Tensor
    sources: Tensor
    slots: Tensor
    name_rows: Tensor
    name_slots: Tensor
    end: Tensor

    def __init__(
        self,
        backbone: AbstractBackbone,
        class_names: Sequence[str],
        *,
        n_context: int = 16,
        position: str = "end",
        class_specific: bool = False,
        initial_text: str | None = None,
        class_tokens: str = "names",
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        check_choice(position, POSITIONS, name="position")
        check_choice(class_tokens, CLASS_TOKENS, name="class_tokens")
        self.class_names = check_class_names(class_names)
        self.position = position
        self.class_specific = class_specific
        self.class_tokens = class_tokens
        generator = torch_generator(0) if generator is None else generator
        context = _initial_context(backbone, n_context, initial_text, generator)
        n_context = len(context)
        if class_specific:
            context = _per_class(context, backbone, len(self.class_names), initial_text, generator)
        names = self.class_names
        if class_tokens == "shuffled":
            names = shuffled_names(names, generator)
        rows = layouts(backbone, names, n_context, position)
        before = {"end": n_context, "middle": n_context // 2, "front": 0}[position]
        self.n_common = 0 if class_specific else before
        self.prefix_length = len(backbone.frame[0]) + self.n_common
        self.full_length = backbone.context_length
        self.ends = tuple(row.end for row in rows)
        self._add_buffers(backbone, rows, n_context)
        context = context.to(backbone.device)
        self.context = nn.Parameter(context, requires_grad=class_tokens != "tuned-only")
        self._place_names(generator)

    def _add_buffers(self, backbone: AbstractBackbone, rows: list[Layout], n_context: int) -> None:
        longest = max(self.ends) + 1 if backbone.causal else self.full_length
        ids = torch.full((len(rows), longest), backbone.pad_id)
        slots = torch.zeros(len(rows), n_context, dtype=torch.long)
        for k, row in enumerate(rows):
            for at, source in enumerate(row.order[:longest]):
                if source >= 0:
                    ids[k, at] = row.tokens[source]
                else:
                    slots[k, -1 - source] = at
        names = [(k, at) for k, row in enumerate(rows) for at in row.name]
        name_rows, name_slots = torch.tensor(names, dtype=torch.long).reshape(-1, 2).T
        # The frozen embeddings are kept once for each token that occurs.
        pad = torch.tensor([backbone.pad_id])
        found, sources = torch.cat([pad, ids.flatten()]).unique(return_inverse=True)
        with torch.no_grad():
            table = backbone.embed_tokens(found).float()
        self.padding = int(sources[0])
        place = {"persistent": False}
        self.register_buffer("table", table, **place)
        self.register_buffer("sources", sources[1:].view_as(ids).to(backbone.device), **place)
        self.register_buffer("slots", slots.to(backbone.device), **place)
        self.register_buffer("name_rows", name_rows.to(backbone.device), **place)
        self.register_buffer("name_slots", name_slots.to(backbone.device), **place)
        self.register_buffer("end", torch.tensor(self.ends).to(backbone.device), **place)

    def _place_names(self, generator: torch.Generator) -> None:
        """Random or trainable tokens in the place of the class names, where asked for."""
        at = (self.name_rows, self.name_slots)
        names = self.table[self.sources[at]]
        if self.class_tokens == "random":
            self.sources[at] = len(self.table) + torch.arange(len(names), device=names.device)
            self.table = torch.cat([self.table, random_like(names, generator)])
        trained = nn.Parameter(names.clone()) if self.class_tokens in TUNED else None
        self.register_parameter("name_tokens", trained)

    @property
    def n_context(self) -> int:
        """Number M of context tokens."""
        return self.context.shape[-2]

    def common(self) -> Tensor:
        """Embeddings of the tokens that all prompts share, (P, d), without positions."""
        start = self.table[self.sources[0, : self.prefix_length - self.n_common]]
        return torch.cat([start, self.context[: self.n_common]]) if self.n_common else start

    def packed(self, classes: slice = slice(None)) -> Tensor:
        """Embeddings of what some prompts do not share, without padding.

        Parameters
        ----------
        classes : slice
            k consecutive classes.

        Returns
        -------
        Tensor
            Shape (T, d): positions `prefix_length` to the end token of each class, one class
            after the other; differentiable in what is trained; no positions added.
        """
        first, (start, stop, _) = self.prefix_length, classes.indices(len(self.ends))
        # On the CPU, so that no device has to be waited for.
        lengths = torch.tensor(self.ends[classes]) + 1 - first
        rows, columns = (torch.arange(int(lengths.max())) < lengths[:, None]).nonzero(as_tuple=True)
        packed = self.table[self.sources[classes, first:][rows, columns]]
        offsets = (lengths.cumsum(0) - lengths - first).to(self.end.device)
        slots = self.slots[classes, self.n_common :]
        if slots.shape[1]:
            own = self.context[classes] if self.class_specific else self.context[self.n_common :]
            own = own.expand(len(lengths), -1, -1).flatten(0, 1)
            packed = packed.index_copy(0, (offsets[:, None] + slots).flatten(), own)
        if self.name_tokens is not None:
            chosen = (self.name_rows >= start) & (self.name_rows < stop)
            at = offsets[self.name_rows[chosen] - start] + self.name_slots[chosen]
            packed = packed.index_copy(0, at, self.name_tokens[chosen])
        return packed

    def forward(self, full_context: bool = False) -> tuple[Tensor, Tensor]:
        """Token embeddings of all prompts and their pooled positions.

        Parameters
        ----------
        full_context : bool
            Pad to the model's context length instead of the longest prompt. (The prompts of a
            text tower that is not causal are always that long.)

        Returns
        -------
        embeddings : Tensor
            Shape (K, L, d), differentiable in what is trained; no positions added.
        end : Tensor
            Shape (K,), int64.
        """
        n_classes, length = self.sources.shape
        rows = torch.arange(n_classes, device=self.sources.device)[:, None]
        embeddings = self.table[self.sources]
        if self.name_tokens is not None:
            embeddings = embeddings.index_put((self.name_rows, self.name_slots), self.name_tokens)
        context = self.context.expand(n_classes, -1, -1)
        embeddings = embeddings.index_put((rows, self.slots), context)
        if full_context and length < self.full_length:
            more = self.table[self.padding].expand(n_classes, self.full_length - length, -1)
            embeddings = torch.cat([embeddings, more], dim=1)
        return embeddings, self.end


def check_context(initial_text: Any, n_context: Any) -> None:
    """Raise `InputError` for a start of the context that no model can make usable."""
    check_number(n_context, name="n_context", low=1, integer=True)
    if initial_text is None:
        return
    if not isinstance(initial_text, str):
        raise InputError(f"initial_text={initial_text!r} holds no token; give words or None")
    if initial_text.strip().lower() == "none":
        raise InputError(
            f"initial_text={initial_text!r} would start the context with that word; to draw it at "
            "random give None, on the command line --param initial_text=null"
        )


def _initial_context(
    backbone: AbstractBackbone,
    n_context: int,
    text: str | None,
    generator: torch.Generator,
) -> Tensor:
    """Start of the context, (M, d) float32: token embeddings of a text, or normal draws."""
    check_context(text, n_context)
    if text is None:
        return _draw((n_context, backbone.text_width), generator)
    ids = backbone.token_ids(text.replace("_", " ").strip())
    if not ids:
        raise InputError(f"initial_text={text!r} holds no token; give words or None")
    with torch.no_grad():
        return backbone.embed_tokens(torch.tensor(ids)).float().cpu().clone()


def _per_class(
    context: Tensor,
    backbone: AbstractBackbone,
    n_classes: int,
    text: str | None,
    generator: torch.Generator,
) -> Tensor:
    """One context per class, (K, M, d): the same start from a text, else draws of its own."""
    if text is not None:
        return context.expand(n_classes, -1, -1).clone()
    return _draw((n_classes, *context.shape), generator)


def _draw(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.randn(shape, generator=generator) * INITIAL_STD
