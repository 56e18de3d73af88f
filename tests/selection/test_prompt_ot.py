"""PromptOT: the published fixture, exact partitions, budgets that lose no row."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labelsieve.core.exceptions import InputError
from labelsieve.selection.prompt_ot import (
    curriculum_budget,
    n_within,
    prompt_ot,
    transport_cost,
)


@pytest.mark.parametrize("cost", ["log-probability", "double-softmax"])
def test_published_fixture(cost):
    logits = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 0.5], [0.2, 0.0]])
    found = prompt_ot(logits, torch.tensor([0, 1, 1, 0]), reg=0.5, cost=cost)
    assert found.pseudo_labels.tolist() == [0, 0, 1, 1]  # plain argmax says 0, 0, 1, 0
    assert found.clean.tolist() == [True, False, True, False]


@pytest.mark.parametrize("reg", [0.01, 0.001])
@pytest.mark.parametrize("cost", ["log-probability", "double-softmax"])
@pytest.mark.parametrize(("n", "k"), [(160, 10), (752, 47), (16, 2)])
def test_balanced_perfect_logits_are_all_clean(n, k, reg, cost):
    labels = torch.arange(n) % k
    logits = torch.randn(n, k, generator=torch.Generator().manual_seed(1))
    logits[torch.arange(n), labels] += 15
    found = prompt_ot(logits, labels, reg=reg, cost=cost)
    assert (found.pseudo_labels == labels).all()
    assert found.clean.all()
    assert not prompt_ot(logits, (labels + 1) % k, reg=reg, cost=cost).clean.any()


def test_pseudo_labels_are_balanced_where_predictions_are_not():
    logits = torch.randn(90, 3, generator=torch.Generator().manual_seed(0))
    logits[:, 0] += 3
    assert logits.argmax(dim=1).bincount(minlength=3)[0] > 80
    pseudo = prompt_ot(logits, torch.zeros(90, dtype=torch.long)).pseudo_labels
    assert (pseudo.bincount(minlength=3) - 30).abs().max() <= 2


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 40), st.integers(1, 6), st.floats(0.01, 1.0), st.integers(0, 9))
def test_partitions_any_rows_within_the_budget(n, k, budget, seed):
    generator = torch.Generator().manual_seed(seed)
    logits = 5 * torch.randn(n, k, generator=generator)
    labels = torch.randint(k, (n,), generator=generator)
    found = prompt_ot(logits, labels, reg=0.1, budget=budget)
    assert found.clean.shape == found.pseudo_labels.shape == (n,)
    assert found.clean.sum() <= n_within(n, budget)
    assert (found.pseudo_labels[found.clean] == labels[found.clean]).all()
    assert ((found.pseudo_labels >= 0) & (found.pseudo_labels < k)).all()


def test_a_small_budget_keeps_the_surest_rows():
    labels = torch.arange(40) % 4
    logits = torch.zeros(40, 4)
    logits[torch.arange(40), labels] = torch.linspace(8, 0.1, 40)
    clean = prompt_ot(logits, labels, reg=0.1, budget=0.5).clean
    assert clean.sum() == 20
    assert clean[:16].all()
    assert not clean[24:].any()


def test_no_budget_loses_a_row():
    assert all(n_within(n, 0.9999999) == n for n in range(16, 2001))
    assert n_within(1, 1e-9) == 1
    assert n_within(7, 1.0) == 7
    assert n_within(1000, 0.5) == 500
    with pytest.raises(InputError, match="budget"):
        prompt_ot(torch.zeros(2, 2), torch.zeros(2, dtype=torch.long), budget=0.0)


def test_curriculum_and_costs():
    assert [curriculum_budget(e, 0) for e in range(3)] == [1.0, 1.0, 1.0]
    assert curriculum_budget(0, 10, 0.3) == pytest.approx(0.3)
    assert curriculum_budget(5, 10, 0.3) == pytest.approx(0.65)
    assert curriculum_budget(10, 10, 0.3) == 1.0
    p = torch.tensor([[0.638066, 0.234731, 0.095435, 0.031767]], dtype=torch.float64)
    torch.testing.assert_close(transport_cost(p.log()), -p.log(), atol=1e-5, rtol=0)
    twice = transport_cost(p.log(), "double-softmax")
    expected = torch.tensor([[1.027714, 1.431049, 1.570345, 1.634013]], dtype=torch.float64)
    torch.testing.assert_close(twice, expected, atol=1e-5, rtol=0)  # DSPT's values of card 0
    with pytest.raises(InputError, match="double-softmax"):
        transport_cost(p, "mae")
