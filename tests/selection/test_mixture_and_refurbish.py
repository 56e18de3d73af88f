"""Joint loss, threshold, refurbished labels and mixup: values and properties."""

import math

import numpy as np
import pytest
import torch

from labelsieve.selection.mixture_and_refurbish import (
    adaptive_threshold,
    clean_part,
    jensen_shannon,
    joint_loss,
    mixup_features,
    refurbish_labels,
    soft_cross_entropy,
)

Z = torch.tensor([[2.0, 1.0, 0.1, -1.0]], dtype=torch.float64)


def draws(n=50, k=4, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return [3 * torch.randn(n, k, generator=generator).double() for _ in range(2)]


def test_joint_loss_of_one_prediction_is_half_its_cross_entropy():
    log_p = Z.log_softmax(dim=1)
    for label, expected in ((0, 0.449313), (1, 1.449313), (3, 3.449313)):  # card 0
        found = joint_loss(log_p, log_p, torch.tensor([label]))
        assert found.item() == pytest.approx(0.5 * expected, abs=1e-6)
        whole = joint_loss(log_p, log_p, torch.tensor([label]), agreement=0.0)
        assert whole.item() == pytest.approx(expected, abs=1e-6)


def test_jensen_shannon_against_a_loop():
    a, b = (z.softmax(dim=1) for z in draws())
    for p, q, found in zip(a.numpy(), b.numpy(), jensen_shannon(a.log(), b.log()), strict=True):
        m = (p + q) / 2
        expected = 0.5 * np.sum(p * np.log(p / m)) + 0.5 * np.sum(q * np.log(q / m))
        assert found.item() == pytest.approx(expected, abs=1e-12)
        assert 0 <= found <= math.log(2)
    torch.testing.assert_close(jensen_shannon(a.log(), b.log()), jensen_shannon(b.log(), a.log()))


def test_a_memorised_label_has_a_larger_joint_loss_than_a_right_one():
    tuned = torch.tensor([[5.0, 0.0], [5.0, 0.0]]).log_softmax(dim=1)
    prior = torch.tensor([[5.0, 0.0], [0.0, 5.0]]).log_softmax(dim=1)
    right, memorised = joint_loss(tuned, prior, torch.tensor([0, 0]))
    assert memorised > right + 1


def test_threshold_adapts_and_the_clean_part_is_never_empty():
    for p in (torch.ones(5), torch.zeros(3), torch.full((7,), 0.1), torch.tensor([0.4])):
        assert clean_part(p).all()
    p = torch.tensor([0.95, 0.9, 0.3, 0.1])
    assert adaptive_threshold(p) == pytest.approx(0.5625)
    assert clean_part(p).tolist() == [True, True, False, False]
    generator = torch.Generator().manual_seed(0)
    for n in range(1, 60):
        assert clean_part(torch.rand(n, generator=generator)).any()


def test_refurbished_labels():
    labels = torch.tensor([0, 1, 2])
    p = torch.full((3, 3), 1 / 3)
    w = torch.tensor([0.9, 0.0, 0.4])
    found = refurbish_labels(labels, w, p, torch.tensor([True, False, False]))
    expected = torch.tensor([[1, 0, 0], [1 / 3, 1 / 3, 1 / 3], [0.2, 0.2, 0.6]])
    torch.testing.assert_close(found, expected)
    np.testing.assert_allclose(found.sum(dim=1), 1.0, atol=1e-6)


def test_mixup_mixes_features_and_targets_alike():
    features, targets = torch.eye(6), torch.eye(6)
    generator = torch.Generator().manual_seed(3)
    mixed, mixed_targets = mixup_features(features, targets, 0.5, generator)
    np.testing.assert_allclose(mixed.norm(dim=1), 1.0, atol=1e-6)
    np.testing.assert_allclose(mixed_targets.sum(dim=1), 1.0, atol=1e-6)
    assert (mixed_targets.diagonal() >= 0.5).all()  # a row stays nearest to its own
    directions = mixed_targets / mixed_targets.norm(dim=1, keepdim=True)
    torch.testing.assert_close(mixed, directions)
    again, _ = mixup_features(features, targets, 0.5, torch.Generator().manual_seed(3))
    assert torch.equal(mixed, again)
    assert mixup_features(features, targets, 0, generator)[0] is features


def test_mixup_leaves_the_global_states_alone():
    state, other = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    mixup_features(torch.eye(4), torch.eye(4), 0.5, torch.Generator().manual_seed(0))
    assert torch.equal(state, torch.random.get_rng_state())
    np.testing.assert_array_equal(other, np.random.get_state()[1])  # noqa: NPY002


def test_soft_cross_entropy_of_a_label_is_cross_entropy():
    z = draws()[0].float()
    labels = torch.arange(50) % 4
    expected = torch.nn.functional.cross_entropy(z, labels, reduction="none")
    found = soft_cross_entropy(z, torch.nn.functional.one_hot(labels, 4).float())
    torch.testing.assert_close(found, expected)
