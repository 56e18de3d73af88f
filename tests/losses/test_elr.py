"""Early-learning regularisation against the published formula."""

import pytest
import torch

from labelsieve.losses.elr import elr_loss, elr_targets

LOGITS = torch.tensor([[2.0, 1.0, 0.1, -1.0]], dtype=torch.float64)


def test_reference_values_of_successive_calls():
    targets, label = torch.zeros(1, 4, dtype=torch.float64), torch.tensor([1])
    for expected in (-0.557862, -1.359822, -1.627835):
        targets = elr_targets(targets, LOGITS.softmax(dim=1))
        assert elr_loss(LOGITS, label, targets).item() == pytest.approx(expected, abs=2e-6)


def test_targets_are_running_means_without_gradient():
    p = LOGITS.softmax(dim=1).requires_grad_()
    targets = elr_targets(torch.zeros_like(LOGITS), p)
    assert not targets.requires_grad
    torch.testing.assert_close(targets, 0.7 * LOGITS.softmax(dim=1))
    for _ in range(30):
        targets = elr_targets(targets, p)
    torch.testing.assert_close(targets.sum(), torch.tensor(1.0, dtype=torch.float64))


def test_gradient_pulls_towards_the_target():
    z = torch.zeros(1, 3, dtype=torch.float64, requires_grad=True)
    target = torch.tensor([[0.0, 0.9, 0.0]], dtype=torch.float64)
    (elr_loss(z, torch.tensor([0]), target)).sum().backward()
    assert z.grad[0, 1] < z.grad[0, 2]
    assert torch.autograd.gradcheck(lambda x: elr_loss(x, torch.tensor([0]), target), z)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_finite_when_certain(dtype):
    z = torch.tensor([[80.0, -80.0], [-80.0, 80.0]], dtype=dtype, requires_grad=True)
    targets = torch.zeros(2, 2)
    for _ in range(50):
        targets = elr_targets(targets, z.detach().float().softmax(dim=1))
    value = elr_loss(z, torch.tensor([0, 0]), targets)
    value.sum().backward()
    assert torch.isfinite(value).all()
    assert torch.isfinite(z.grad).all()
