"""Prompts to text features; the common start of all prompts is computed once.

In a causal tower a token never sees a later one. So what all prompts begin with (the start token,
and a shared context up to the class name) is computed once in each layer; the tokens of every class
attend to the common keys and values and to their own. What remains per class is packed without
padding into one matrix for the linear layers. In the last layer only the end token is carried on.
The result equals the plain computation over the padded context up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import normalize
from torch.utils.checkpoint import checkpoint

from ..backbones.base import AbstractBackbone
from ..core.exceptions import InputError
from ..core.validation import check_choice, check_number
from .frozen_tower import FrozenTower, frozen_tower
from .learner import PromptLearner
from .packing import end_attention, pack, self_attention

METHODS = ("auto", "shared-prefix", "plain")
CHUNK_TOKENS = 2048
"""Class tokens computed together on a CPU where the caller does not say: its caches hold them."""
GPU_CHUNK_TOKENS = 8192
"""The same on a GPU, which waits for its next kernel meanwhile; about `KEPT_BYTES` in ViT-B."""
KEPT_BYTES = 3 << 30
"""Activations that a pass keeps for its gradient; those of further classes are computed again."""
KEPT_FLOATS = 17
"""Floats kept per token, layer and unit of width; measured."""


def encode_prompts(
    backbone: AbstractBackbone,
    learner: PromptLearner,
    *,
    method: str = "auto",
    class_chunk: int | None = None,
) -> Tensor:
    """Text features of all prompts of a learner.

    Under `torch.autocast` the linear layers and the attention run in its precision; the residual
    stream and the norms stay in float32.

    Parameters
    ----------
    backbone : AbstractBackbone
        The model whose text tower is used.
    learner : PromptLearner
        K prompts.
    method : str
        "shared-prefix" (causal towers), "plain" (everything, padding included), or "auto": the
        first where it holds.
    class_chunk : int, optional
        Classes computed together. The default keeps working memory small; activations beyond
        `KEPT_BYTES` are not kept for the gradient but computed again.

    Returns
    -------
    Tensor
        Shape (K, D), float32, rows of length 1, differentiable in what the learner trains.

    Raises
    ------
    InputError
        If the method is unknown or does not fit the learner.
    """
    return encode_together(backbone, [learner], method=method, class_chunk=class_chunk)[0]


def encode_together(
    backbone: AbstractBackbone,
    learners: Sequence[PromptLearner],
    *,
    method: str = "auto",
    class_chunk: int | None = None,
) -> list[Tensor]:
    """Text features of several learners by one pass, such as positive and negative prompts.

    Parameters
    ----------
    backbone, method, class_chunk
        See `encode_prompts`.
    learners : sequence of PromptLearner
        Of the same backbone.

    Returns
    -------
    list of Tensor
        One (K, D) a learner.
    """
    check_choice(method, METHODS, name="method")
    if class_chunk is not None:
        check_number(class_chunk, name="class_chunk", low=1, integer=True)
    shareable = all(has_shared_prefix(backbone, learner) for learner in learners)
    if method == "shared-prefix" and not shareable:
        raise InputError(
            "method='shared-prefix' needs a causal text tower (CLIP); use 'auto' or 'plain'"
        )
    if method == "plain" or not shareable:
        return [_encode_plain(backbone, learner, class_chunk) for learner in learners]
    return _encode_shared(backbone, learners, class_chunk)


def has_shared_prefix(backbone: AbstractBackbone, learner: PromptLearner) -> bool:
    """Whether the tower is causal, so that what prompts begin with does not see the rest."""
    return backbone.causal and min(learner.ends) >= learner.prefix_length


def _encode_plain(
    backbone: AbstractBackbone, learner: PromptLearner, class_chunk: int | None
) -> Tensor:
    embeddings, end = learner()
    n_classes, length, width = embeddings.shape
    step = class_chunk or max(1, _chunk_tokens(embeddings.device.type) // length)
    chunks = [slice(i, i + step) for i in range(0, n_classes, step)]
    tasks = [partial(backbone.encode_embeddings, embeddings[c], end[c]) for c in chunks]
    n_layers = len(backbone.model.text_model.encoder.layers)
    return torch.cat(_run(tasks, step * length * width * n_layers))


def _encode_shared(
    backbone: AbstractBackbone, learners: Sequence[PromptLearner], class_chunk: int | None
) -> list[Tensor]:
    device = learners[0].context.device.type
    autocast = torch.is_autocast_enabled(device)
    dtype = torch.get_autocast_dtype(device) if autocast else torch.float32
    tower = frozen_tower(backbone.model, dtype)
    n_tokens = sum(end + 1 - one.prefix_length for one in learners for end in one.ends)
    most = max(len(one.ends) for one in learners)
    step = class_chunk or -(-most // -(-n_tokens // _chunk_tokens(device)))
    groups = [
        [(one, slice(i, i + step)) for one in learners if i < len(one.ends)]
        for i in range(0, most, step)
    ]
    size = n_tokens // len(groups) * len(tower.blocks) * tower.positions.shape[1]
    with torch.autocast(device, enabled=False):
        chunks = _run([partial(_encode_groups, tower, group) for group in groups], size)
    found: dict[int, list[Tensor]] = {id(one): [] for one in learners}
    for group, chunk in zip(groups, chunks, strict=True):
        counts = [len(one.ends[classes]) for one, classes in group]
        for (one, _), features in zip(group, chunk.split(counts), strict=True):
            found[id(one)].append(features)
    return [torch.cat(found[id(one)]) for one in learners]


def _chunk_tokens(device: str) -> int:
    return CHUNK_TOKENS if device == "cpu" else GPU_CHUNK_TOKENS


def cosines(features: Tensor, text: Tensor) -> Tensor:
    """Similarities (B, K) of features (B, D) and (K, D), in their own precision.

    Under `torch.autocast` the product would be one of bfloat16, off by up to 0.004, and the logit
    scale of 100 would make 0.4 of that.
    """
    with torch.autocast(features.device.type, enabled=False):
        return features @ text.T


def _run(tasks: list[Callable[[], Tensor]], size: int) -> list[Tensor]:
    """Results of tasks of a size in tokens times layers times width.

    Where a gradient is wanted, as many tasks as fit into `KEPT_BYTES` keep their activations; the
    others compute them again in the backward pass, so that memory does not grow with the classes.
    """
    n_kept = max(1, KEPT_BYTES // (4 * KEPT_FLOATS * max(size, 1)))
    if not torch.is_grad_enabled():
        n_kept = len(tasks)
    again = partial(checkpoint, use_reentrant=False, preserve_rng_state=False)
    return [task() if i < n_kept else again(task) for i, task in enumerate(tasks)]


def _encode_groups(tower: FrozenTower, groups: list[tuple[PromptLearner, slice]]) -> Tensor:
    """Features of some classes of each learner, one learner after the other, (k, D)."""
    parts, packings, row = [], [], 0  # parts stay apart in the first layer, where some need no
    for learner, classes in groups:  # gradient
        prefix, positions = learner.prefix_length, tower.positions
        common, own = learner.common(), learner.packed(classes)
        packing = pack(row, prefix, learner.ends[classes], own.device)
        parts += [common + positions[:prefix], own + positions[prefix + packing.inside]]
        packings.append(packing)
        row += prefix + len(own)
    *blocks, last = tower.blocks
    for block in blocks:
        mixed = self_attention(block, [block.norm1(part) for part in parts], packings)
        hidden = torch.cat(parts) + mixed
        parts = [hidden + block.mlp(hidden)]
    rows = torch.cat(parts)
    ends = torch.cat([rows.index_select(0, packing.ends) for packing in packings])
    ends = ends + end_attention(last, [last.norm1(part) for part in parts], packings)
    ends = ends + last.mlp(ends)
    return normalize(tower.head(ends).float(), dim=-1)
