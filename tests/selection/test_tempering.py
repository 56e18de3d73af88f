"""Tempered probabilities: the same order and mean, less certain; the inverse slope undoes it."""

import numpy as np
import pytest
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from labelsieve.selection.tempering import Tempering


def overconfident(n=4000, slope=0.6, seed=0):
    """Probabilities of a model that is too sure, and what came true."""
    rng = np.random.default_rng(seed)
    odds = rng.normal(2.0, 2.5, n)
    said = expit(odds)
    shift = Tempering.fit(said, slope).shift
    return said, rng.random(n) < expit(slope * odds + shift)


def test_order_and_mean_stay_and_the_ends_come_in():
    said, _ = overconfident()
    tempered = Tempering.fit(said, 0.7)(said)
    assert tempered.mean() == pytest.approx(said.mean(), abs=1e-9)
    assert (np.diff(tempered[np.argsort(said)]) > 0).all()
    assert tempered.std() < said.std()
    assert tempered.min() > said.min()
    assert tempered.max() < said.max()


def test_the_inverse_slope_undoes_it():
    said, _ = overconfident()
    there = Tempering.fit(said, 0.7)(said)
    np.testing.assert_allclose(Tempering.fit(there, 1 / 0.7)(there), said, atol=1e-9)
    np.testing.assert_allclose(Tempering.fit(said, 1.0)(said), said, atol=1e-9)


def test_the_right_slope_is_the_logistic_regression_of_what_came_true():
    said, true = overconfident(n=40_000)
    fitted = LogisticRegression(C=1e6).fit(logit(said)[:, None], true)
    assert fitted.coef_[0, 0] == pytest.approx(0.6, abs=0.03)
    assert fitted.intercept_[0] == pytest.approx(Tempering.fit(said, 0.6).shift, abs=0.06)


def test_certain_rows_and_extremes_stay_in_order_and_finite():
    said = np.array([0.0, 1e-250, 1e-20, 1e-7, 0.5, 1 - 1e-12, 1.0])
    tempered = Tempering.fit(said)(said)
    assert (np.diff(tempered) >= 0).all()
    assert (np.diff(tempered[:5]) > 0).all()
    assert ((tempered >= 0) & (tempered <= 1)).all()
    for same in (np.ones(3), np.zeros(3), np.array([])):
        assert np.isfinite(Tempering.fit(same)(same)).all()
