"""Every loss against published or derived reference values, gradients and bounds."""

import math

import pytest
import torch

from labelsieve.core.exceptions import InputError
from labelsieve.losses import LOSSES, make_loss
from labelsieve.losses.nce_rce import normalized_cross_entropy

LOGITS = torch.tensor([[2.0, 1.0, 0.1, -1.0]], dtype=torch.float64)
REFERENCE = {  # label -> value at LOGITS
    ("ce", ()): {0: 0.449313, 1: 1.449313, 3: 3.449313},
    ("dspt", ()): {0: 1.027714, 1: 1.431049, 3: 1.634013},
    ("mae", ()): {0: 0.361934, 1: 0.765269, 3: 0.968233},
    ("gce", (("q", 0.5),)): {0: 0.402419, 1: 1.031018, 3: 1.643531},
    ("gce", ()): {0: 0.385514, 1: 0.910605, 3: 1.300842},
    ("sce", ()): {0: 3.782845, 1: 8.497696, 3: 12.367064},
    ("nce_rce", ()): {0: 0.058373 + 3.333532, 1: 0.188290 + 7.048383, 3: 0.448123 + 8.917751},
    ("phuber", ()): {0: 0.449313, 1: 1.449313, 3: 2.984911},
}
GRADIENTS = {
    ("ce", 1): (0.638066, -0.765269, 0.095435, 0.031767),
    ("dspt", 1): (0.179985, -0.196397, 0.012619, 0.003793),
    ("dspt", 3): (0.050480, -0.009307, -0.006751, -0.034422),
    ("mae", 3): (0.020270, 0.007457, 0.003032, -0.030758),
    ("gce", 1): (0.231348, -0.277469, 0.034602, 0.011518),
}


def gradient(name, logits, label):
    z = logits.clone().requires_grad_()
    make_loss(name)(z, torch.tensor([label] * len(z))).sum().backward()
    return z.grad


@pytest.mark.parametrize(("key", "values"), REFERENCE.items(), ids=str)
def test_reference_values(key, values):
    name, params = key
    for label, expected in values.items():
        got = make_loss(name, **dict(params))(LOGITS, torch.tensor([label]))
        assert got.shape == (1,)
        assert got.item() == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize(("key", "expected"), GRADIENTS.items(), ids=str)
def test_reference_gradients(key, expected):
    name, label = key
    torch.testing.assert_close(
        gradient(name, LOGITS, label)[0],
        torch.tensor(expected, dtype=torch.float64),
        atol=1e-6,
        rtol=0,
    )


def test_label_smoothing_equals_torch():
    z = torch.randn(20, 7, generator=torch.Generator().manual_seed(0))
    y = torch.arange(20) % 7
    expected = torch.nn.functional.cross_entropy(z, y, reduction="none", label_smoothing=0.2)
    torch.testing.assert_close(make_loss("label_smoothing", smoothing=0.2)(z, y), expected)


@pytest.mark.parametrize("name", LOSSES.names())
class TestEveryLoss:
    def test_gradcheck(self, name):
        z = torch.randn(5, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
        labels = torch.tensor([0, 1, 2, 3, 0])
        assert torch.autograd.gradcheck(lambda x: make_loss(name)(x, labels), z.requires_grad_())

    def test_shift_invariant_and_gradients_sum_to_zero(self, name):
        z = 10 * torch.randn(8, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
        labels = torch.arange(8) % 6
        loss = make_loss(name)
        torch.testing.assert_close(loss(z + 5.0, labels), loss(z, labels))
        assert gradient(name, z, 2).sum(dim=1).abs().max() < 1e-12

    def test_permutation_equivariant(self, name):
        z = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
        order = torch.tensor([3, 1, 4, 0, 2])
        labels = torch.tensor([0, 1, 2, 3, 4, 0])
        moved = torch.argsort(order)[labels]
        torch.testing.assert_close(make_loss(name)(z[:, order], moved), make_loss(name)(z, labels))

    def test_finite_at_extreme_logits_in_half_precision(self, name):
        z = torch.tensor([[100.0, -100.0, 0.0]], dtype=torch.bfloat16, requires_grad=True)
        value = make_loss(name)(z, torch.tensor([1]))
        value.sum().backward()
        assert value.dtype == torch.float32
        assert torch.isfinite(value).all()
        assert torch.isfinite(z.grad).all()


@pytest.mark.parametrize("n_classes", [2, 10, 100])
def test_dspt_bounds_are_tight(n_classes):
    low, high = math.log(1 + (n_classes - 1) / math.e), math.log(n_classes - 1 + math.e)
    assert high - low == pytest.approx(1.0)
    z = torch.randn(500, n_classes, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    loss = make_loss("dspt")
    for scale in (1.0, 50.0):
        values = loss(scale * z, torch.zeros(500, dtype=torch.long))
        assert (values >= low - 1e-12).all()
        assert (values <= high + 1e-12).all()
    vertex = torch.full((1, n_classes), -500.0, dtype=torch.float64)
    vertex[0, 0] = 500.0
    assert loss(vertex, torch.tensor([0])).item() == pytest.approx(low)
    assert loss(vertex, torch.tensor([1])).item() == pytest.approx(high)


@pytest.mark.parametrize("n_classes", [2, 10, 100])
def test_dspt_label_gradient_sandwich(n_classes):
    c = (math.e - 1) / (n_classes - 1 + math.e)
    z = 3 * torch.randn(
        2000, n_classes, dtype=torch.float64, generator=torch.Generator().manual_seed(5)
    )
    p = z.softmax(dim=1)[:, 0]
    size = gradient("dspt", z, 0)[:, 0].abs()
    assert (size >= p * (1 - p) * (1 - c) - 1e-12).all()
    assert (size <= p * (1 - p) * (1 + c) + 1e-12).all()


def test_dspt_gradient_vanishes_at_both_vertices_where_ce_stays():
    z = torch.tensor([[40.0, 0.0, 0.0]], dtype=torch.float64)
    assert gradient("dspt", z, 0).abs().max() < 1e-12
    assert gradient("dspt", z, 1).abs().max() < 1e-12
    assert gradient("ce", z, 1).abs().max() == pytest.approx(1.0)


def test_dspt_is_mae_up_to_a_constant_for_many_classes():
    z = 20 * torch.randn(500, 100, generator=torch.Generator().manual_seed(6)).double()
    labels = torch.arange(500) % 100
    gap = make_loss("dspt")(z, labels) - make_loss("mae")(z, labels)
    gap = gap - (math.log(100) + 1 / 100 - 1 + 0.0)
    assert gap.min() >= -1e-12
    assert gap.max() <= 0.0071


def test_gce_limits():
    labels = torch.tensor([1])
    torch.testing.assert_close(
        make_loss("gce", q=1e-6)(LOGITS, labels), make_loss("ce")(LOGITS, labels), atol=1e-5, rtol=0
    )
    torch.testing.assert_close(
        make_loss("gce", q=1.0)(LOGITS, labels), make_loss("mae")(LOGITS, labels)
    )


def test_nce_sums_to_one_over_labels():
    total = sum(normalized_cross_entropy(LOGITS, torch.tensor([k])) for k in range(4))
    assert total.item() == pytest.approx(1.0)


def test_unknown_names_and_parameters_say_what_is_allowed():
    with pytest.raises(InputError, match=r"unknown loss 'dspd'.*ce, gce.*Did you mean 'dspt'"):
        make_loss("dspd")
    with pytest.raises(InputError, match="loss 'dspt' has no parameter tau; it takes none"):
        make_loss("dspt", tau=2.0)
    with pytest.raises(InputError, match=r"q must be a number in 1e-06\.\.1"):
        make_loss("gce", q=0)(LOGITS, torch.tensor([0]))
