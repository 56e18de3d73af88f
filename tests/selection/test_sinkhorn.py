"""Log-domain Sinkhorn: marginals, the published fixture, the plain iteration, and POT."""

import numpy as np
import pytest
import torch

from labelsieve.core.exceptions import InputError
from labelsieve.selection.sinkhorn import sinkhorn

Z = torch.tensor([[2.0, 0.0], [1.0, 0.0], [0.0, 0.5], [0.2, 0.0]], dtype=torch.float64)


def random_cost(n, k, seed=0, scale=1.0):
    logits = torch.randn(n, k, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return -(scale * logits).log_softmax(dim=1)


def plain_sinkhorn(cost, reg, n_iterations=20_000):
    """The textbook iteration on the kernel itself."""
    kernel = (-cost / reg).exp()
    n, k = cost.shape
    v = torch.ones(k, dtype=torch.float64)
    for _ in range(n_iterations):
        u = 1 / n / (kernel @ v)
        v = 1 / k / (kernel.T @ u)
    return u[:, None] * kernel * v


def test_published_fixture():
    plan = 4 * sinkhorn(-Z.log_softmax(dim=1), 0.5, tolerance=1e-9).plan
    expected = [[0.9385, 0.0615], [0.6739, 0.3261], [0.0933, 0.9067], [0.2944, 0.7056]]
    np.testing.assert_allclose(plan, expected, atol=5e-5)
    twice = 4 * sinkhorn(-Z.softmax(dim=1).log_softmax(dim=1), 0.5, tolerance=1e-9).plan
    expected = [[0.7274, 0.2726], [0.5945, 0.4055], [0.2628, 0.7372], [0.4153, 0.5847]]
    np.testing.assert_allclose(twice, expected, atol=5e-5)


@pytest.mark.parametrize("shape", [(1, 1), (3, 7), (40, 5), (64, 1), (200, 20)])
@pytest.mark.parametrize("mass", [1.0, 0.4])
def test_marginals(shape, mass):
    n, k = shape
    found = sinkhorn(random_cost(n, k), 0.1, mass=mass, n_iterations=20_000)
    assert found.converged
    assert (found.plan >= 0).all()
    np.testing.assert_allclose(found.plan.sum(dim=0), mass / k, rtol=1e-9)
    rows = found.plan.sum(dim=1)
    assert (rows <= 1 / n + 2e-6).all()
    if mass == 1.0:
        np.testing.assert_allclose(rows, 1 / n, atol=2e-6)


def test_equals_the_plain_iteration_where_that_is_finite():
    cost = random_cost(30, 4)
    for reg in (1.0, 0.3, 0.1):
        expected = plain_sinkhorn(cost, reg)
        found = sinkhorn(cost, reg, tolerance=1e-11, n_iterations=20_000)
        np.testing.assert_allclose(found.plan, expected, atol=1e-10)


@pytest.mark.parametrize("k", [10, 47, 100])
def test_works_where_the_plain_kernel_is_all_zero(k):
    logits = 0.5 * random_cost(4 * k, k, seed=k)
    logits[torch.arange(4 * k), torch.arange(4 * k) % k] = 12.0
    cost = -logits.softmax(dim=1).log_softmax(dim=1)
    assert (-cost / 0.001).exp().sum() == 0
    found = sinkhorn(cost, 0.001)
    assert found.converged
    assert (found.plan.argmax(dim=1) == torch.arange(4 * k) % k).all()
    np.testing.assert_allclose(found.plan.sum(), 1.0)


def test_a_constant_added_to_a_row_changes_nothing():
    cost = random_cost(25, 5)
    moved = cost + torch.linspace(-50, 300, 25, dtype=torch.float64)[:, None]
    a, b = (sinkhorn(c, 0.05, tolerance=1e-9, n_iterations=20_000).plan for c in (cost, moved))
    np.testing.assert_allclose(a, b, atol=1e-9)


def test_says_when_it_has_not_converged():
    found = sinkhorn(random_cost(50, 5, scale=20.0), 0.01, n_iterations=3, tolerance=1e-12)
    assert not found.converged
    assert found.error > 1e-12
    np.testing.assert_allclose(found.plan.sum(dim=0), 0.2)


def test_balanced_plan_against_pot():
    ot = pytest.importorskip("ot")
    for reg, scale in ((0.05, 1.0), (0.5, 5.0)):
        cost = random_cost(60, 6, scale=scale)
        a, b = np.full(60, 1 / 60), np.full(6, 1 / 6)
        expected = ot.sinkhorn(
            a, b, cost.numpy(), reg, method="sinkhorn_log", numItermax=5000, stopThr=1e-11
        )
        found = sinkhorn(cost, reg, tolerance=1e-9, n_iterations=100_000)
        np.testing.assert_allclose(found.plan, expected, atol=1e-8)


def test_partial_plan_against_pot():
    ot = pytest.importorskip("ot")
    cost = random_cost(60, 6)
    for mass in (0.3, 0.8):
        a, b = np.full(60, 1 / 60), np.full(6, mass / 6)
        expected = ot.partial.entropic_partial_wasserstein(
            a, b, cost.numpy(), 0.1, m=float(b.sum()), numItermax=100_000, stopThr=1e-13
        )
        found = sinkhorn(cost, 0.1, mass=mass, tolerance=1e-10, n_iterations=50_000)
        assert found.converged
        np.testing.assert_allclose(found.plan, expected, atol=1e-7)


def test_bad_arguments_are_gathered():
    with pytest.raises(InputError, match=r"(?s)3 problems.*finite.*reg.*mass"):
        sinkhorn(torch.tensor([[float("nan")]]), 0.0, mass=1.5)
    with pytest.raises(InputError, match=r"shape \(N, K\)"):
        sinkhorn(torch.zeros(0, 3))
