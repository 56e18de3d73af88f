"""Per-sample gradients against a plain loop of backward passes, for every kind of prompt."""

import pytest
import torch

from labelsieve.analysis.sample_gradients import (
    forward_pass,
    group_gradient,
    sample_gradients,
    text_jacobian,
)
from labelsieve.losses import make_loss
from labelsieve.prompts import PromptLearner, encode_prompts

NAMES = ("cat", "sports car", "sea lion", "frog")
KINDS = {
    "shared": {"initial_text": "a photo of a"},
    "random": {"n_context": 3, "position": "middle"},
    "class-specific": {"class_specific": True, "n_context": 3},
    "random names": {"class_tokens": "random"},
    "tuned names": {"class_tokens": "tuned", "initial_text": "a photo of a"},
    "tuned names, class-specific": {"class_tokens": "tuned", "class_specific": True},
    "tuned names only": {"class_tokens": "tuned-only"},
}


def problem(backbone, n_rows, **options):
    generator = torch.Generator().manual_seed(1)
    learner = PromptLearner(backbone, NAMES, generator=generator, **options)
    features = torch.randn(n_rows, backbone.embed_dim, generator=generator)
    features = torch.nn.functional.normalize(features, dim=-1)
    return learner, features, torch.arange(n_rows) % 4


def loop(backbone, learner, features, labels, loss):
    """One forward and one backward pass a sample, as a textbook would."""
    rows = []
    for x, y in zip(features, labels, strict=True):
        text = encode_prompts(backbone, learner, method="plain")
        logits = backbone.logit_scale * x[None] @ text.T + backbone.logit_bias
        trained = [p for p in learner.parameters() if p.requires_grad]
        parts = torch.autograd.grad(loss(logits, y[None]).sum(), trained)
        rows.append(torch.cat([part.flatten() for part in parts]))
    return torch.stack(rows)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("n_rows", [9, 40])  # fewer and more samples than the 24 dimensions
def test_equals_a_loop_over_samples(tiny_backbone, kind, n_rows):
    learner, features, labels = problem(tiny_backbone, n_rows, **KINDS[kind])
    loss = make_loss("ce")
    found = forward_pass(tiny_backbone, learner, features, labels, loss)
    expected = loop(tiny_backbone, learner, features, labels, loss)
    scale = float(expected.abs().max())
    chunks = list(sample_gradients(found))
    assert torch.cat([torch.arange(n_rows)[rows] for rows, _ in chunks]).tolist() == list(
        range(n_rows)
    )
    gradients = torch.cat([part for _, part in chunks])
    torch.testing.assert_close(gradients / scale, expected / scale, rtol=1e-5, atol=1e-5)
    mask = labels == 1
    total = group_gradient(found, mask)
    torch.testing.assert_close(total / scale, expected[mask].sum(0) / scale, rtol=1e-5, atol=1e-5)
    assert group_gradient(found, torch.zeros(n_rows, dtype=torch.bool)).abs().max() == 0
    assert all(p.grad is None for p in learner.parameters())


@pytest.mark.parametrize("name", ["dspt", "gce", "mae"])
def test_both_ways_agree_for_every_loss(tiny_backbone, name):
    learner, features, labels = problem(tiny_backbone, 70, initial_text="a photo of a")
    found = forward_pass(tiny_backbone, learner, features, labels, make_loss(name))
    kept = torch.cat([part for _, part in sample_gradients(found)])
    streamed = torch.cat([part for _, part in sample_gradients(found, max_jacobian=0)])
    scale = float(kept.abs().max())
    torch.testing.assert_close(kept / scale, streamed / scale, rtol=1e-5, atol=1e-5)
    assert kept.shape == (70, learner.context.numel())


def test_the_jacobian_of_a_class_specific_prompt_is_block_diagonal(tiny_backbone):
    learner, features, labels = problem(tiny_backbone, 30, class_specific=True, n_context=2)
    found = forward_pass(tiny_backbone, learner, features, labels, make_loss("ce"))
    jacobian = text_jacobian(found).unflatten(2, (4, -1))  # (K, D, K, M d)
    for k in range(4):
        for other in range(4):
            assert bool((jacobian[k, :, other] != 0).any()) == (k == other)


def test_losses_and_slopes_are_those_of_the_scaled_cosines(tiny_backbone):
    learner, features, labels = problem(tiny_backbone, 6)
    found = forward_pass(tiny_backbone, learner, features, labels, make_loss("ce"))
    p = found.logits.softmax(dim=1)
    onehot = torch.nn.functional.one_hot(labels, 4)
    torch.testing.assert_close(found.slopes, tiny_backbone.logit_scale * (p - onehot))
    torch.testing.assert_close(found.losses, -p[torch.arange(6), labels].log())
