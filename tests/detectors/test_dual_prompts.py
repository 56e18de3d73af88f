"""DeFT's losses and selection against the card's figures and a textbook loop."""

import math

import numpy as np
import pytest
import torch

from labelsieve.detectors.dual_prompts import (
    _judge,
    complementary_labels,
    dual_prompt_losses,
)

POSITIVE = torch.tensor([[25.0, 22.0, 20.0]], dtype=torch.float64)
NEGATIVE = torch.tensor([[24.0, 23.0, 20.5]], dtype=torch.float64)


def textbook(positive, negative, labels, complementary, warm_up):
    """The losses as nested Python, one sample at a time."""
    dual, similarity, chosen = 0.0, 0.0, 0
    for p, n, y, c in zip(positive, negative, labels, complementary, strict=True):
        clean = [1 / (1 + math.exp(float(n[k] - p[k]))) for k in range(len(p))]
        selected = warm_up or clean[y] > 0.5
        target = int(y) if selected else int(torch.argmax(p))
        dual -= math.log(max(clean[target], 1e-5)) + math.log(max(1 - clean[c], 1e-5))
        if selected:
            chosen += 1
            similarity -= float(torch.log_softmax(p, 0)[y])
    return dual / len(labels), similarity / max(chosen, 1)


def test_reference_values():
    dual, similarity = dual_prompt_losses(
        POSITIVE, NEGATIVE, torch.tensor([0]), torch.tensor([2]), warm_up=False
    )
    assert dual.item() == pytest.approx(0.787339, abs=1e-6)
    assert similarity.item() == pytest.approx(0.054985, abs=1e-6)


@pytest.mark.parametrize("warm_up", [True, False])
def test_equals_the_textbook_loop(warm_up):
    g = torch.Generator().manual_seed(0)
    positive = 20 + 3 * torch.randn(50, 6, generator=g, dtype=torch.float64)
    negative = 20 + 3 * torch.randn(50, 6, generator=g, dtype=torch.float64)
    labels = torch.randint(6, (50,), generator=g)
    other = complementary_labels(labels, 6, g)
    dual, similarity = dual_prompt_losses(positive, negative, labels, other, warm_up=warm_up)
    expected = textbook(positive, negative, labels, other, warm_up)
    assert (dual.item(), similarity.item()) == pytest.approx(expected)


def test_gradients_are_routed_as_in_the_authors_code():
    positive, negative = POSITIVE.clone().requires_grad_(), NEGATIVE.clone().requires_grad_()
    arguments = (torch.tensor([0]), torch.tensor([2]))
    dual, similarity = dual_prompt_losses(positive, negative, *arguments, warm_up=False)
    dual.backward()
    assert positive.grad is None
    assert negative.grad.abs().sum() > 0
    negative.grad = None
    similarity.backward()
    assert positive.grad.abs().sum() > 0
    assert negative.grad is None


def test_a_batch_without_selection_gives_zero_not_nan():
    positive = torch.zeros(4, 3, requires_grad=True)
    labels = torch.tensor([0, 1, 2, 0])
    dual, similarity = dual_prompt_losses(
        positive, torch.ones(4, 3), labels, (labels + 1) % 3, warm_up=False
    )
    (dual + similarity).backward()
    assert similarity.item() == 0.0
    assert torch.isfinite(dual)
    assert torch.isfinite(positive.grad).all()


def test_complementary_labels_are_uniform_over_the_others():
    labels = torch.full((60_000,), 2)
    drawn = complementary_labels(labels, 5, torch.Generator().manual_seed(0))
    counts = np.bincount(drawn.numpy(), minlength=5)
    assert counts[2] == 0
    expected = 15_000
    chi_square = sum((counts[k] - expected) ** 2 / expected for k in (0, 1, 3, 4))
    assert chi_square < 16.3  # 3 degrees of freedom, p = 0.001


def test_a_tie_is_not_selected_and_scores_keep_their_order_in_the_tails():
    positive = torch.tensor([[1.0, 0.0], [90.0, 0.0], [80.0, 0.0], [0.0, 3.0]])
    negative = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [2.0, 0.0]])
    found = _judge(positive, negative, np.zeros(4, dtype=np.int64))
    assert found.is_label_issue.tolist() == [True, False, False, True]
    assert found.label_score[0] == 0.5
    assert found.label_score[1] > found.label_score[2] > 0.9
    assert found.p_clean[3] == pytest.approx(1 / (1 + math.exp(2)))
