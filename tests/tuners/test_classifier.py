"""Classifier-R and Classifier-C: a cosine head, against a plain loop."""

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from labelsieve.core.exceptions import InputError
from labelsieve.losses import make_loss
from labelsieve.prompts import zero_shot_classifier
from labelsieve.tuners import TUNERS, load_tuner
from labelsieve.tuners.classifier import CosineClassifier
from labelsieve.tuners.plan import default_plan
from problems import clustered_features

NAMES = ("red", "green", "blue", "yellow")


def fit(backbone, n=16, **params):
    x, given, true = clustered_features(n, width=backbone.embed_dim)
    return CosineClassifier(backbone, class_names=NAMES, **params).fit(x, given), x, given, true


@pytest.mark.parametrize("initial", ["random", "text"])
def test_without_training_it_is_its_start(tiny_backbone, initial):
    weights = fit(tiny_backbone, initial=initial, epochs=0)[0].classifier_.weights
    torch.testing.assert_close(weights.norm(dim=1), torch.ones(4))
    text = zero_shot_classifier(tiny_backbone, NAMES).weights
    assert torch.allclose(weights, text, atol=1e-6) == (initial == "text")


@pytest.mark.parametrize("loss", ["ce", "gce"])
def test_equals_a_plain_loop(tiny_backbone, loss):
    """Plain autograd, plain SGD with momentum, one batch an epoch."""
    tuner, x, given, _ = fit(
        tiny_backbone, initial="text", loss=loss, epochs=4, batch_size=16, lr=0.05
    )
    weights = zero_shot_classifier(tiny_backbone, NAMES).weights.requires_grad_()
    velocity = torch.zeros_like(weights)
    for epoch in range(4):
        logits = tiny_backbone.logit_scale * torch.as_tensor(x) @ normalize(weights, dim=1).T
        value = make_loss(loss, **({"q": 0.7} if loss == "gce" else {}))(
            logits, torch.as_tensor(given)
        ).mean()
        (gradient,) = torch.autograd.grad(value, weights)
        velocity = 0.9 * velocity + gradient + 5e-4 * weights.detach()
        rate = 1e-5 if epoch == 0 else 0.05 * 0.5 * (1 + np.cos(np.pi * (epoch - 1) / 4))
        weights = (weights.detach() - rate * velocity).requires_grad_()
    expected = normalize(weights.detach(), dim=1)
    torch.testing.assert_close(tuner.classifier_.weights, expected, atol=1e-5, rtol=1e-4)


def test_it_learns_clean_labels_and_takes_shots(tiny_backbone):
    x, _, true = clustered_features(width=tiny_backbone.embed_dim)
    for initial in ("random", "text"):
        tuner = CosineClassifier(tiny_backbone, class_names=NAMES, initial=initial, shots=5)
        tuner.fit(x, true)
        assert tuner.history_[0]["rows"] == 20
        assert len(tuner.history_) == default_plan(20, 100.0, few_shot=True).epochs
        assert (tuner.predict(x) == true).mean() > 0.9  # of 20 rows, whichever they are
        whole = CosineClassifier(tiny_backbone, class_names=NAMES, initial=initial).fit(x, true)
        assert (whole.predict(x) == true).mean() > 0.95


def test_both_names_are_saved_as_what_they_are(tiny_backbone, tmp_path):
    x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
    for name, initial in (("classifier-r", "random"), ("classifier-c", "text")):
        tuner = TUNERS.get(name)(tiny_backbone, class_names=NAMES, epochs=1).fit(x, given)
        assert (tuner.name, tuner.initial) == (name, initial)
        loaded = load_tuner(tuner.save(tmp_path / name), backbone=tiny_backbone)
        assert (loaded.name, loaded.initial) == (name, initial)


def test_unknown_start(tiny_backbone):
    with pytest.raises(InputError, match="initial='zeros' is not known; choose one of random, tex"):
        fit(tiny_backbone, initial="zeros")
