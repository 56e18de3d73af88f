"""The Gaussian mixture over losses recovers a plain split and never reverses the order."""

import numpy as np
import pytest

from labelsieve.selection.loss_mixture import clean_probability_from_losses


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
