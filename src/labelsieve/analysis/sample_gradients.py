"""Gradients of every single sample on the prompt, without a backward pass for each.

With normalised features x_i, class texts T(theta) of shape (K, D) and logits z_i = s T x_i + b, the
gradient of sample i is ``g_i = s sum_k (dL_i/dz_ik) J_k^T x_i`` with J_k = dT_k/dtheta. T is the
same for all samples. So the sum over a group is one backward pass, with the cotangent ``s G^T X``;
and all single gradients need at most D passes through the text tower, however many samples there
are: text k depends on prompt k only, so the unit vector e_d for all classes at once gives row d of
every J_k.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from ..backbones import AbstractBackbone
from ..losses.registry import Loss
from ..prompts import PromptLearner, encode_prompts

MAX_JACOBIAN = 2**27
"""Numbers of dT/dtheta that are kept; beyond it the samples pass through the tower in chunks."""

MAX_CHUNK = 2**23
"""Numbers of one chunk of cotangents or gradients."""


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """The prompt's texts and all samples' logits, with what their gradients need.

    Attributes
    ----------
    text : Tensor
        Shape (K, D), with its graph.
    parameters : list of Tensor
        What is trained, P numbers in all.
    features : Tensor
        Shape (N, D).
    logits, slopes : Tensor
        Shape (N, K): z, and s dL/dz, the slopes with respect to the cosines.
    losses : Tensor
        Shape (N,).
    """

    backbone: AbstractBackbone
    learner: PromptLearner
    text: Tensor
    parameters: list[Tensor]
    features: Tensor
    logits: Tensor
    slopes: Tensor
    losses: Tensor


def forward_pass(
    backbone: AbstractBackbone,
    learner: PromptLearner,
    features: Tensor,
    labels: Tensor,
    loss: Loss,
) -> ForwardPass:
    """Encode the prompts once and differentiate the loss of every sample by its cosines.

    Parameters
    ----------
    backbone : AbstractBackbone
        Its text tower and logit scale.
    learner : PromptLearner
        K prompts; not changed.
    features : Tensor, shape (N, D)
        Normalised image features.
    labels : Tensor of int64, shape (N,)
        Given labels.
    loss : callable
        ``loss(logits, labels)``, one value a sample.
    """
    # The fused attention kernels have no batched backward pass; plain products have.
    with sdpa_kernel(SDPBackend.MATH):
        text = encode_prompts(backbone, learner)
    scores = features @ text.detach().T
    logits = (backbone.logit_scale * scores + backbone.logit_bias).requires_grad_()
    values = loss(logits, labels)
    (gradient,) = torch.autograd.grad(values.sum(), logits)
    return ForwardPass(
        backbone=backbone,
        learner=learner,
        text=text,
        parameters=[p for p in learner.parameters() if p.requires_grad],
        features=features,
        logits=logits.detach(),
        slopes=backbone.logit_scale * gradient,
        losses=values.detach(),
    )


def group_gradient(found: ForwardPass, rows: Tensor) -> Tensor:
    """Sum of the gradients of some samples, shape (P,), by one backward pass.

    Parameters
    ----------
    found : ForwardPass
        From `forward_pass`.
    rows : Tensor
        Indices or a mask of samples; none gives zeros.
    """
    cotangent = found.slopes[rows].T @ found.features[rows]
    parts = torch.autograd.grad(found.text, found.parameters, cotangent, retain_graph=True)
    return torch.cat([part.flatten() for part in parts])


def sample_gradients(
    found: ForwardPass, *, max_jacobian: int = MAX_JACOBIAN
) -> Iterator[tuple[slice, Tensor]]:
    """Gradients of the single samples, in chunks of rows.

    Parameters
    ----------
    found : ForwardPass
        From `forward_pass`.
    max_jacobian : int
        Numbers of the Jacobian, K D P, that may be kept.

    Yields
    ------
    rows : slice
        Which samples.
    gradients : Tensor
        Shape (n, P).
    """
    n_rows, width = found.features.shape
    n_classes = len(found.text)
    n_trained = sum(p.numel() for p in found.parameters)
    keep = n_rows > width and n_classes * width * n_trained <= max_jacobian
    jacobian = text_jacobian(found) if keep else None
    step = max(1, MAX_CHUNK // max(n_trained, n_classes * width))
    step = step if keep else min(step, 64)
    for first in range(0, n_rows, step):
        rows = slice(first, min(first + step, n_rows))
        cotangents = found.slopes[rows, :, None] * found.features[rows, None, :]  # (n, K, D)
        if jacobian is None:
            yield rows, _backward(found.text, found.parameters, cotangents)
        else:
            yield rows, cotangents.flatten(1) @ jacobian.flatten(0, 1)


def text_jacobian(found: ForwardPass) -> Tensor:
    """The Jacobian of all text features by what is trained, shape (K, D, P), in D passes."""
    embeddings, end = found.learner()
    leaf = embeddings.detach().requires_grad_()
    with sdpa_kernel(SDPBackend.MATH):
        text = found.backbone.encode_embeddings(leaf, end)
    n_classes, width = text.shape
    n_trained = sum(p.numel() for p in found.parameters)
    jacobian = text.new_empty(n_classes, width, n_trained)
    units = torch.eye(width, device=text.device, dtype=text.dtype)
    step = max(1, min(64, MAX_CHUNK // leaf.numel()))
    for first in range(0, width, step):
        unit = units[first : first + step, None, :].expand(-1, n_classes, -1)
        (by_token,) = torch.autograd.grad(
            text, leaf, unit, retain_graph=True, is_grads_batched=True
        )  # (n, K, L, d): row d of the Jacobian of each text by its own tokens
        for k in range(n_classes):  # the tokens of one class at a time reach the parameters
            one = torch.zeros_like(by_token)
            one[:, k] = by_token[:, k]
            jacobian[k, first : first + step] = _backward(embeddings, found.parameters, one)
    return jacobian


def _backward(output: Tensor, parameters: list[Tensor], cotangents: Tensor) -> Tensor:
    """Vector-Jacobian products of several cotangents at once: (n, *output) -> (n, P)."""
    parts = torch.autograd.grad(
        output, parameters, cotangents, retain_graph=True, is_grads_batched=True
    )
    return torch.cat([part.flatten(1) for part in parts], dim=1)
