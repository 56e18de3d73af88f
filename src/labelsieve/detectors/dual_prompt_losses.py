"""The losses of DeFT's dual prompts, and the scale at which the positive ones are compared."""

from __future__ import annotations

import torch

from ..losses import make_loss

FLOOR = 1e-5  # probabilities below it give no gradient
BISECTIONS = 20


def dual_prompt_losses(
    positive: torch.Tensor,
    negative: torch.Tensor,
    labels: torch.Tensor,
    complementary: torch.Tensor,
    *,
    warm_up: bool,
    warmup_loss: str = "ce",
    agreement: bool = False,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The two losses of DeFT for one batch, L_dp and L_sim.

    L_dp = mean -log p_clean(t) + mean -log(1 - p_clean(complementary)) with
    p_clean = sigmoid(positive - negative); t is the given label, or, once the warm-up is over and
    the label is rejected, the current positive prediction. Positive logits are detached in it, so
    it trains the negative prompts only. L_sim is the cross-entropy of the positive logits over the
    selected samples (all of them in the warm-up), zero when none is selected. It is taken at the
    `fitted_scale` of these logits, which is our addition.

    Parameters
    ----------
    positive, negative : Tensor, shape (B, K)
        Scaled similarities to the positive and negative prompts.
    labels, complementary : Tensor of int64, shape (B,)
        Given labels, and for each a random other class.
    warm_up : bool
        Whether every label counts as clean.
    warmup_loss : str
        Takes the place of the cross-entropy in the warm-up.
    agreement : bool
        Whether selection also needs the given class to have the largest clean probability.

    Returns
    -------
    tuple of Tensor
        L_dp and L_sim, scalars.
    """
    margin = positive.detach() - negative
    p_clean = torch.sigmoid(margin)
    rows = torch.arange(len(labels), device=labels.device)
    selected = p_clean[rows, labels] > 0.5
    if agreement:  # by the margins: p_clean is 1 for several classes where they are large
        selected &= margin.argmax(dim=1) == labels
    selected |= warm_up
    target = torch.where(selected, labels, positive.argmax(dim=1))
    right = p_clean[rows, target].clamp(FLOOR, 1.0)
    wrong = (1.0 - p_clean[rows, complementary]).clamp(FLOOR, 1.0)
    dual = -right.log().mean() - wrong.log().mean()
    if not selected.any():
        return dual, positive.sum() * 0.0
    loss = make_loss(warmup_loss if warm_up else "ce")
    logits, labels = positive[selected], labels[selected]
    return dual, loss(fitted_scale(logits.detach(), labels) * logits, labels).mean()


def fitted_scale(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """The factor in 0..1 at which the mean cross-entropy of logits (B, K) is least, a scalar.

    A model that is surer than its labels are right has a mean cross-entropy above log K. The way
    down is then to make all class features alike, and prompts that learn share one context, so
    they do: the classes are lost. Cross-entropy at this factor, the least over all scales up to
    the model's own, is never above log K and gains nothing by that. Where labels are right the
    factor is 1. The cross-entropy is convex in the factor, so its slope is bisected.

    Parameters
    ----------
    logits : Tensor, shape (B, K)
        Scaled similarities.
    labels : Tensor of int64, shape (B,)
        Class indices, B at least 1.
    """
    logits = logits if logits.dtype == torch.float64 else logits.float()
    mean = logits.gather(1, labels[:, None]).mean()
    low, high = logits.new_zeros(()), logits.new_ones(())
    at = high
    for _ in range(BISECTIONS):
        rises = ((at * logits).softmax(dim=1) * logits).sum(dim=1).mean() > mean
        low, high = torch.where(rises, low, at), torch.where(rises, at, high)
        at = (low + high) / 2
    return high


def complementary_labels(
    labels: torch.Tensor, n_classes: int, generator: torch.Generator
) -> torch.Tensor:
    """One class a row, drawn uniformly from the K - 1 that are not the given label, shape (B,)."""
    shift = torch.randint(1, n_classes, labels.shape, generator=generator)
    return (labels + shift.to(labels.device)) % n_classes
