"""TEnc-FT: what is trained, against transformers' own model, and what stays as it was."""

import copy

import numpy as np
import pytest
import torch
from torch.nn.functional import normalize

from labelsieve.backbones import load_backbone
from labelsieve.core.exceptions import InputError
from labelsieve.losses import make_loss
from labelsieve.prompts import TextTower, zero_shot_classifier
from labelsieve.tuners import load_tuner
from labelsieve.tuners.text_encoder_tuning import TextEncoderTuning
from problems import clustered_features
from tiny_siglip import build_tiny_siglip

NAMES = ("red", "green", "blue", "yellow")


def fit(backbone, n=16, **params):
    x, given, _ = clustered_features(n, width=backbone.embed_dim)
    return TextEncoderTuning(backbone, class_names=NAMES, **params).fit(x, given)


@pytest.mark.parametrize("partial", [None, 1])
def test_equals_training_a_copy_of_the_model(tiny_backbone, partial):
    """transformers' own forward on a deep copy of the model, plain SGD on its own weights."""
    x, given, _ = clustered_features(16, width=tiny_backbone.embed_dim)
    tuner = fit(tiny_backbone, partial=partial, epochs=3, batch_size=16, lr=1e-3)
    model = copy.deepcopy(tiny_backbone.model)
    ids = tiny_backbone.tokenize([f"a photo of a {name}." for name in NAMES]).ids
    prefixes = ("text_model.", "text_projection.")
    if partial == 1:
        prefixes = ("text_model.encoder.layers.1.",)
    trained = {n: p for n, p in model.named_parameters() if n.startswith(prefixes)}
    assert tuner.text_tower_.keys() == trained.keys()
    for parameter in trained.values():
        parameter.requires_grad_(True)
    velocity = {name: torch.zeros_like(p) for name, p in trained.items()}

    def text():
        return normalize(model.get_text_features(input_ids=ids).pooler_output, dim=-1)

    for epoch in range(3):
        logits = tiny_backbone.logit_scale * torch.as_tensor(x) @ text().T
        value = make_loss("ce")(logits, torch.as_tensor(given)).mean()
        gradients = torch.autograd.grad(value, list(trained.values()))
        rate = 1e-5 if epoch == 0 else 1e-3 * 0.5 * (1 + np.cos(np.pi * (epoch - 1) / 3))
        with torch.no_grad():
            for (name, p), gradient in zip(trained.items(), gradients, strict=True):
                velocity[name] = 0.9 * velocity[name] + gradient + 5e-4 * p
                p -= rate * velocity[name]
    torch.testing.assert_close(tuner.classifier_.weights, text().detach(), atol=2e-5, rtol=1e-3)
    for name, p in trained.items():
        torch.testing.assert_close(tuner.text_tower_[name], p.detach(), atol=2e-5, rtol=1e-3)
        assert not torch.equal(tuner.text_tower_[name], tiny_backbone.model.get_parameter(name))


def test_without_training_it_is_zero_shot(tiny_backbone):
    for templates in ("default", "ensemble"):
        tuner = fit(tiny_backbone, epochs=0, templates=templates)
        expected = zero_shot_classifier(tiny_backbone, NAMES, templates)
        torch.testing.assert_close(tuner.classifier_.weights, expected.weights, atol=1e-6, rtol=0)


def test_a_tower_that_is_not_causal(tmp_path):
    backbone = load_backbone(build_tiny_siglip(tmp_path / "siglip"), device="cpu")
    tower = TextTower(backbone)
    tokens = backbone.tokenize(["a photo of a red.", "a blue."])
    expected = backbone.encode_texts(["a photo of a red.", "a blue."])
    torch.testing.assert_close(tower(backbone, tokens).detach(), expected, atol=1e-6, rtol=0)
    before = {k: v.clone() for k, v in backbone.model.state_dict().items()}
    tuner = fit(backbone, epochs=2)
    after = backbone.model.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[key], after[key]) for key in before)
    assert tuner.history_[-1]["loss"] < tuner.history_[0]["loss"]


def test_an_error_inside_leaves_the_backbone_as_it_was(tiny_backbone):
    tower = TextTower(tiny_backbone)
    with torch.no_grad():
        for copied in tower.parameters():
            copied.add_(1.0)
    weights = dict(tiny_backbone.model.named_parameters())
    before = {name: weight.clone() for name, weight in weights.items()}
    tokens = tiny_backbone.tokenize(["a red."])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tiny_backbone, "encode_embeddings", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tower(tiny_backbone, tokens)
    after = dict(tiny_backbone.model.named_parameters())
    assert list(after) == list(weights)
    assert all(after[name] is weights[name] for name in weights)
    assert all(torch.equal(after[name], before[name]) for name in weights)
    assert not any(weight.requires_grad for weight in after.values())


def test_weights_are_saved_where_asked_for(tiny_backbone, tmp_path):
    kept = fit(tiny_backbone, keep_weights=True, partial=1, epochs=2)
    loaded = load_tuner(kept.save(tmp_path / "kept"), backbone=tiny_backbone)
    assert loaded.text_tower_.keys() == kept.text_tower_.keys()
    assert all(torch.equal(loaded.text_tower_[k], v) for k, v in kept.text_tower_.items())
    left = fit(tiny_backbone, epochs=2)
    assert load_tuner(left.save(tmp_path / "left"), backbone=tiny_backbone).text_tower_ == {}


def test_bad_arguments(tiny_backbone):
    with pytest.raises(InputError, match=r"partial must be an integer in 1\.\.2, not 3"):
        fit(tiny_backbone, partial=3)
    with pytest.raises(InputError, match="shots must be an integer"):
        fit(tiny_backbone, shots=0)
