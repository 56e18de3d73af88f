"""CoOp with something else in the place of the class names."""

import numpy as np
import pytest
import torch

from labelsieve.prompts import CLASS_TOKENS, PromptLearner
from labelsieve.tuners import load_tuner
from labelsieve.tuners.coop import CoOp
from problems import clustered_features

NAMES = ("red", "green", "blue", "yellow")


def fit(backbone, **params):
    x, _, true = clustered_features(width=backbone.embed_dim)
    given = {"class_names": NAMES, "epochs": 3, "loss": "ce"} | params
    return CoOp(backbone, **given).fit(x, true), x, true


@pytest.mark.parametrize("class_tokens", CLASS_TOKENS)
def test_fit_save_load(tiny_backbone, tmp_path, class_tokens):
    tuner, x, _ = fit(tiny_backbone, class_tokens=class_tokens)
    loaded = load_tuner(tuner.save(tmp_path / "m"), backbone=tiny_backbone)
    np.testing.assert_array_equal(loaded.predict_proba(x), tuner.predict_proba(x))
    assert loaded.class_tokens == class_tokens
    trained = class_tokens in ("tuned", "tuned-only")
    assert (tuner.name_tokens_ is not None) == (loaded.name_tokens_ is not None) == trained
    start = PromptLearner(tiny_backbone, NAMES, initial_text="a photo of a", class_tokens="tuned")
    moved = not torch.equal(tuner.context_, start.context.detach())
    assert moved == (class_tokens != "tuned-only")
    if trained:
        assert torch.equal(loaded.name_tokens_, tuner.name_tokens_)
        assert not torch.equal(tuner.name_tokens_, start.name_tokens.detach())


def test_tuned_names_learn_classes_that_the_words_do_not_tell_apart(tiny_backbone):
    for class_tokens in ("tuned", "tuned-only"):
        tuner, x, true = fit(tiny_backbone, class_tokens=class_tokens, epochs=40)
        assert (tuner.predict(x) == true).mean() > 0.95


def test_the_seed_decides_random_and_shuffled(tiny_backbone):
    for class_tokens in ("random", "shuffled"):

        def weights(seed, kind=class_tokens):
            tuner = fit(tiny_backbone, class_tokens=kind, epochs=0, random_state=seed)[0]
            return tuner.classifier_.weights

        assert torch.equal(weights(0), weights(0))
        assert any(not torch.equal(weights(0), weights(seed)) for seed in (1, 2, 3))
