"""Tip-Adapter against its formula, term by term."""

import math

import numpy as np
import pytest
import torch

from labelsieve.core.exceptions import InputError
from labelsieve.prompts import zero_shot_classifier
from labelsieve.tuners import load_tuner
from labelsieve.tuners.tip_adapter import TipAdapter
from problems import clustered_features

NAMES = ("red", "green", "blue", "yellow")


def fit(backbone, **params):
    x, given, true = clustered_features(width=backbone.embed_dim)
    return TipAdapter(backbone, class_names=NAMES, **params).fit(x, given), x, given, true


def test_logits_are_the_formula(tiny_backbone):
    tuner, x, given, _ = fit(tiny_backbone, shots=None, alpha=0.7, beta=3.0)
    text = zero_shot_classifier(tiny_backbone, NAMES).weights.numpy()
    for row in (0, 17):
        expected = tiny_backbone.logit_scale * (text @ x[row])
        for key, label in zip(x, given, strict=True):
            expected[label] += 0.7 * math.exp(-3.0 * (1 - float(x[row] @ key)))
        found = tuner.classifier_.logits(torch.as_tensor(x[row : row + 1]))[0]
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-4)
        p = np.exp(expected - expected.max())
        np.testing.assert_allclose(tuner.predict_proba(x)[row], p / p.sum(), atol=1e-5)


def test_without_weight_the_cache_changes_nothing(tiny_backbone):
    tuner, x, _, _ = fit(tiny_backbone, alpha=0.0)
    expected = zero_shot_classifier(tiny_backbone, NAMES).predict_proba(x)
    np.testing.assert_allclose(tuner.predict_proba(x), expected, atol=1e-5)


def test_the_cache_holds_the_shots(tiny_backbone):
    tuner, x, given, true = fit(tiny_backbone, shots=5, alpha=100.0)
    keys, labels = tuner.classifier_.keys.numpy(), tuner.classifier_.labels.numpy()
    assert np.bincount(labels).tolist() == [5] * 4
    rows = (keys @ x.T).argmax(axis=1)
    np.testing.assert_allclose(keys, x[rows], atol=1e-6)
    assert len(set(rows)) == 20
    assert (given[rows] == labels).all()
    assert tuner.history_ == []
    clean = TipAdapter(tiny_backbone, class_names=NAMES, alpha=100.0).fit(x, true)
    assert (clean.predict(x) == true).mean() > 0.9


def test_fine_tuning_moves_the_keys_and_lowers_the_loss(tiny_backbone, tmp_path):
    start, x, _, _ = fit(tiny_backbone, shots=8)
    tuner = fit(tiny_backbone, shots=8, fine_tune=True, epochs=30)[0]
    assert len(tuner.history_) == 30
    assert tuner.history_[-1]["loss"] < tuner.history_[0]["loss"]
    assert torch.equal(tuner.classifier_.labels, start.classifier_.labels)
    assert not torch.equal(tuner.classifier_.keys, start.classifier_.keys)
    folder = tuner.save(tmp_path / "m")
    loaded = load_tuner(folder, backbone=tiny_backbone)
    assert torch.equal(loaded.classifier_.keys, tuner.classifier_.keys)
    np.testing.assert_array_equal(loaded.predict_proba(x), tuner.predict_proba(x))


def test_the_plan_is_that_of_tip_adapter_f(tiny_backbone):
    tuner = fit(tiny_backbone, fine_tune=True)[0]
    assert len(tuner.history_) == 20
    assert tuner.history_[0]["lr"] == 1e-3


def test_bad_arguments_in_one_message(tiny_backbone):
    with pytest.raises(InputError, match=r"2 problems\n- alpha must be a number.*\n- beta must"):
        fit(tiny_backbone, alpha=-1.0, beta=float("nan"))
