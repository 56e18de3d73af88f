"""Curves, zones, bounds and the scale's effect against the method card's reference numbers."""

import math

import numpy as np
import pytest
import torch

from labelsieve.analysis.loss_curves import (
    cosine_gradients,
    double_softmax_bounds,
    gap_logits,
    logit_gradients,
    loss_curves,
    probability_logits,
    saturation_zones,
    scale_effect,
)

ALL = ("dspt", "ce", "gce", "mae", "sce", "phuber")


def test_paths_have_the_probabilities_they_are_named_for():
    p = torch.tensor([1e-5, 0.3, 0.9], dtype=torch.float64)
    shares = probability_logits(p, 5).softmax(dim=1)
    torch.testing.assert_close(shares[:, 0], p)
    torch.testing.assert_close(shares[:, 1], shares[:, 4])
    gap = torch.tensor([-2.0, 0.0, 3.0], dtype=torch.float64)
    torch.testing.assert_close(gap_logits(gap, 10).softmax(dim=1)[:, 0], gap.sigmoid())


@pytest.mark.parametrize("loss", ALL)
def test_gradients_equal_finite_differences(loss):
    generator = torch.Generator().manual_seed(0)
    z = torch.randn(1, 5, generator=generator, dtype=torch.float64)
    y, step = torch.tensor([2]), 1e-6
    _, gradient = logit_gradients(loss, z, y)
    for k in range(5):
        shift = torch.zeros_like(z)
        shift[0, k] = step
        above, below = (logit_gradients(loss, z + sign * shift, y)[0] for sign in (1, -1))
        assert float((above - below) / (2 * step)) == pytest.approx(float(gradient[0, k]), abs=1e-8)


@pytest.mark.parametrize(
    ("gap", "ce", "dspt", "tolerance"),
    [
        (-10, 1.414, 7.36e-5, 1e-3),
        (-5, 1.405, 1.08e-2, 5e-3),
        (-2, 1.246, 0.165, 5e-3),
        (0, 0.7071, 0.3536, 1e-3),
        (2, 0.1686, 0.1319, 1e-3),
        (5, 9.5e-3, 8.0e-3, 1e-2),
    ],
)
def test_gradient_norms_over_the_gap(gap, ce, dspt, tolerance):
    curves = loss_curves(("ce", "dspt"), (10,)).query("path == 'gap'")
    at = curves[np.isclose(curves["x"], gap)].set_index("loss")["gradient_norm"]
    assert at["ce"] == pytest.approx(ce, rel=tolerance)
    assert at["dspt"] == pytest.approx(dspt, rel=tolerance)


@pytest.mark.parametrize(
    ("k", "peak", "gap"), [(2, 0.26398, -0.433), (10, 0.25132, -0.144), (100, 0.25002, -0.016)]
)
def test_peaks_of_double_softmax(k, peak, gap):
    zone = saturation_zones(("dspt",), (k,)).iloc[0]
    assert zone["peak"] == pytest.approx(peak, abs=1e-5)
    assert zone["peak_gap"] == pytest.approx(gap, abs=0.006)


def test_zones_are_where_the_formulas_say():
    zones = saturation_zones(ALL, (100,)).set_index("loss")
    # mae: p (1 - p) = 0.0025 on both sides
    p = (1 - math.sqrt(1 - 0.01)) / 2
    edge = math.log(p / (1 - p))
    assert zones.loc["mae", "wrong_gap"] == pytest.approx(edge, abs=0.011)
    assert zones.loc["mae", "right_gap"] == pytest.approx(-edge, abs=0.011)
    assert zones.loc["mae", "wrong_probability"] == pytest.approx(p, rel=0.012)
    # gce, q = 0.7: p^0.7 (1 - p) has its peak at p = 0.7 / 1.7
    peak = (0.7 / 1.7) ** 0.7 * (1 / 1.7)
    assert zones.loc["gce", "peak"] == pytest.approx(peak, rel=1e-4)
    small = (0.01 * peak) ** (1 / 0.7)
    assert zones.loc["gce", "wrong_gap"] == pytest.approx(math.log(small), abs=0.02)
    # partially huberised, tau = 10: 10 p (1 - p), peak 0.9 at p = 0.1
    assert zones.loc["phuber", "peak"] == pytest.approx(0.9, abs=1e-3)
    assert zones.loc["phuber", "wrong_gap"] == pytest.approx(math.log(0.0009), abs=0.02)
    assert zones.loc[["ce", "sce"], "wrong_gap"].isna().all()
    assert zones["right_gap"].notna().all()


@pytest.mark.parametrize(
    ("k", "low", "uniform", "high", "spread"),
    [
        (2, 0.313262, 0.693147, 1.313262, 0.120115),
        (10, 1.461150, 2.302585, 2.461150, 0.058565),
        (47, 2.886054, 3.850148, 3.886054, 0.014630),
        (100, 3.622207, 4.605170, 4.622207, 0.007037),
        (1000, 5.909472, 6.907755, 6.909472, 0.000717),
    ],
)
def test_bounds_of_double_softmax(k, low, uniform, high, spread):
    row = double_softmax_bounds((k,)).iloc[0]
    found = row[["min", "uniform", "max", "spread"]].astype(float).tolist()
    assert found == pytest.approx([low, uniform, high, spread], abs=1e-6)
    assert row["max"] - row["min"] == pytest.approx(1.0, abs=1e-12)


def test_double_softmax_and_absolute_error_meet_like_one_over_k():
    bounds = double_softmax_bounds((2, 10, 100, 1000)).set_index("n_classes")
    assert bounds["spread"].is_monotonic_decreasing
    assert bounds["gradient_gap"].is_monotonic_decreasing
    for column in ("spread", "gradient_gap"):
        assert bounds.loc[100, column] / bounds.loc[1000, column] == pytest.approx(10, rel=0.05)


def test_scale_effect_of_the_card():
    # the card's draw: 100 classes, cosines N(.2, .02), the true one .27
    generator = torch.Generator().manual_seed(0)
    cosines = 0.2 + 0.02 * torch.randn(1, 100, generator=generator, dtype=torch.float64)
    cosines[0, 3] = 0.27
    right, wrong = torch.tensor([3]), torch.tensor([7])

    def norms(scale):
        pairs = (("dspt", right), ("dspt", wrong), ("ce", wrong))
        return [float(cosine_gradients(loss, cosines, y, scale)) for loss, y in pairs]

    assert norms(100.0) == pytest.approx([26.3, 0.143, 112], rel=5e-3)
    assert norms(10.0)[:2] == pytest.approx([0.192, 0.081], rel=5e-3)
    assert norms(1.0)[:2] == pytest.approx([0.0107, 0.0098], rel=5e-3)


def test_only_at_a_high_scale_wrong_labels_are_suppressed():
    effect = scale_effect(("dspt", "ce"), (1.0, 100.0), random_state=0)
    norm = effect.set_index(["loss", "logit_scale", "label"])["gradient_norm"]
    assert norm["dspt", 100.0, "wrong"] < 0.02 * norm["dspt", 100.0, "right"]
    assert norm["dspt", 1.0, "wrong"] > 0.9 * norm["dspt", 1.0, "right"]
    assert norm["ce", 100.0, "wrong"] > 2 * norm["ce", 100.0, "right"]
    assert effect.equals(scale_effect(("dspt", "ce"), (1.0, 100.0), random_state=0))
