"""DeFT's losses against the card's figures, a textbook loop and the authors' routing."""

import math

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch.nn.functional import cross_entropy

from labelsieve.detectors.dual_prompt_losses import (
    complementary_labels,
    dual_prompt_losses,
    fitted_scale,
)

POSITIVE = torch.tensor([[25.0, 22.0, 20.0]], dtype=torch.float64)
NEGATIVE = torch.tensor([[24.0, 23.0, 20.5]], dtype=torch.float64)


def textbook(positive, negative, labels, complementary, warm_up):
    """The losses as nested Python, one sample at a time."""
    dual, chosen = 0.0, []
    for p, n, y, c in zip(positive, negative, labels, complementary, strict=True):
        clean = [1 / (1 + math.exp(float(n[k] - p[k]))) for k in range(len(p))]
        selected = warm_up or clean[y] > 0.5
        target = int(y) if selected else int(torch.argmax(p))
        dual -= math.log(max(clean[target], 1e-5)) + math.log(max(1 - clean[c], 1e-5))
        if selected:
            chosen.append((p, y))

    def cross_entropy(scale):
        return -np.mean([float(torch.log_softmax(scale * p, 0)[y]) for p, y in chosen])

    least = minimize_scalar(cross_entropy, bounds=(0, 1), options={"xatol": 1e-9})
    similarity = min(least.fun, cross_entropy(1.0)) if chosen else 0.0
    return dual / len(labels), similarity


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


@pytest.mark.parametrize("warm_up", [True, False])
def test_gradients_equal_finite_differences_of_the_textbook_loop(warm_up):
    g = torch.Generator().manual_seed(1)
    positive = (20 + 3 * torch.randn(8, 4, generator=g, dtype=torch.float64)).requires_grad_()
    negative = (20 + 3 * torch.randn(8, 4, generator=g, dtype=torch.float64)).requires_grad_()
    labels = torch.randint(4, (8,), generator=g)
    other = complementary_labels(labels, 4, g)
    losses = dual_prompt_losses(positive, negative, labels, other, warm_up=warm_up)
    sum(losses).backward()

    def textbook_at(of_positive, of_negative, which):
        return textbook(of_positive, of_negative, labels, other, warm_up)[which]

    step = 1e-6
    for i in range(8):
        for k in range(4):
            shift = torch.zeros(8, 4, dtype=torch.float64)
            shift[i, k] = step
            p, n = positive.detach(), negative.detach()
            # L_dp sees the positive logits as constants, L_sim does not see the negative ones;
            # the fitted scale moves with them, but at the least cross-entropy that is of no account
            slope = textbook_at(p, n + shift, 0) - textbook_at(p, n - shift, 0)
            assert negative.grad[i, k].item() == pytest.approx(slope / (2 * step), abs=1e-6)
            slope = textbook_at(p + shift, n, 1) - textbook_at(p - shift, n, 1)
            assert positive.grad[i, k].item() == pytest.approx(slope / (2 * step), abs=1e-6)


def test_the_fitted_scale_is_where_the_cross_entropy_is_least():
    g = torch.Generator().manual_seed(3)
    logits = 12 * torch.randn(200, 5, generator=g, dtype=torch.float64)
    labels = torch.where(torch.rand(200, generator=g) < 0.4, 0, logits.argmax(dim=1))
    found = fitted_scale(logits, labels)
    scales = torch.linspace(0, 1, 10_001, dtype=torch.float64)
    values = torch.stack([cross_entropy(scale * logits, labels) for scale in scales])
    assert 0 < found < 1
    assert found.item() == pytest.approx(scales[values.argmin()].item(), abs=1e-4)
    # too sure of its labels, the model pays more than one that knows nothing
    assert cross_entropy(logits, labels) > math.log(5) > cross_entropy(found * logits, labels)
    assert fitted_scale(found * logits, labels).item() == pytest.approx(1, abs=1e-4)
    assert fitted_scale(logits.half(), labels).item() == pytest.approx(found.item(), abs=1e-2)


def test_the_fitted_scale_at_its_ends():
    logits = torch.tensor([[9.0, 1.0, 0.0], [0.0, 5.0, 4.0]])
    assert fitted_scale(logits, torch.tensor([0, 1])) == 1.0  # right: the published loss
    assert fitted_scale(logits, torch.tensor([2, 0])) < 1e-5  # worse than no knowledge
    assert fitted_scale(torch.zeros(2, 3), torch.tensor([0, 1])) == 1.0


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


def test_agreement_selects_the_largest_clean_probability_alone():
    positive = torch.tensor([[1.0, 3.0], [3.0, 1.0]])
    negative = torch.zeros(2, 2)
    given, complementary = torch.zeros(2, dtype=torch.int64), torch.ones(2, dtype=torch.int64)
    _, all_of_them = dual_prompt_losses(positive, negative, given, complementary, warm_up=False)
    _, agreeing = dual_prompt_losses(
        positive, negative, given, complementary, warm_up=False, agreement=True
    )
    assert all_of_them.item() == pytest.approx(math.log(2), abs=1e-5)  # one right, one wrong
    torch.testing.assert_close(agreeing, -positive.log_softmax(1)[1, 0])


def test_agreement_sees_margins_at_which_the_clean_probability_is_one_for_several_classes():
    positive, negative = torch.tensor([[20.0, 30.0]]), torch.zeros(1, 2)
    assert torch.sigmoid(positive).unique().tolist() == [1.0]
    given, complementary = torch.tensor([1]), torch.tensor([0])
    _, similarity = dual_prompt_losses(
        positive, negative, given, complementary, warm_up=False, agreement=True
    )
    torch.testing.assert_close(similarity, -positive.log_softmax(1)[0, 1], atol=1e-9, rtol=1e-3)
    assert similarity > 0


def test_the_warm_up_may_use_another_loss():
    labels, complementary = torch.tensor([0]), torch.tensor([2])
    losses = [
        dual_prompt_losses(
            POSITIVE, NEGATIVE, labels, complementary, warm_up=warm_up, warmup_loss="sce"
        )[1].item()
        for warm_up in (True, False)
    ]
    p = torch.softmax(POSITIVE, dim=1)[0, 0].item()
    assert losses[1] == pytest.approx(-math.log(p))
    assert losses[0] == pytest.approx(-math.log(p) + 9.210340 * (1 - p))
