"""The Gaussian mixture over losses recovers a plain split and never reverses the order."""

import numpy as np
import pytest

from labelsieve.selection.loss_mixture import (
    clean_probability_from_losses,
    shift_to_rate,
    shifted,
)


def test_recovers_two_levels():
    p = clean_probability_from_losses(np.array([0.1] * 50 + [0.9] * 50))
    assert (p[:50] > 0.99).all()
    assert (p[50:] < 0.01).all()


def test_posterior_never_rises_with_the_loss():
    rng = np.random.default_rng(0)
    losses = np.concatenate([rng.gamma(1.0, 0.1, 700), rng.normal(3, 1.5, 300)])
    p = clean_probability_from_losses(losses)
    assert (np.diff(p[np.argsort(losses)]) <= 1e-12).all()
    assert p[losses < 0.05].min() > 0.9


@pytest.mark.parametrize("losses", [[], [1.0], [2.0, 2.0, 2.0]])
def test_nothing_to_split_means_clean(losses):
    assert (clean_probability_from_losses(np.array(losses)) == 1).all()


@pytest.mark.parametrize("rate", [0.0, 0.01, 0.2, 0.5, 0.9, 1.0])
def test_a_known_rate_is_the_mean_and_the_order_stays(rate):
    rng = np.random.default_rng(0)
    for p in (rng.random(500), np.array([0.0] * 5 + [1.0] * 5), np.ones(7), np.zeros(7)):
        told = shifted(p, shift_to_rate(p, rate))
        assert told.mean() == pytest.approx(1.0 - rate, abs=1e-9)
        assert ((told >= 0) & (told <= 1)).all()
        assert (np.diff(told[np.argsort(p)]) >= 0).all()
    p = rng.random(500)
    assert shift_to_rate(p, 1.0 - p.mean()) == pytest.approx(0, abs=1e-9)
    np.testing.assert_allclose(shifted(p, 0.0), p, atol=1e-9)
