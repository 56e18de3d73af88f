"""Text classifiers and zero-shot classification, against formulas written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from labelsieve.core.exceptions import InputError
from labelsieve.core.serialization import load_tensors, save_tensors
from labelsieve.prompts import (
    TEMPLATES,
    TextClassifier,
    classifier,
    resolve_templates,
    zero_shot_classifier,
)


def unit_rows(n, width, seed=0):
    rows = np.random.default_rng(seed).standard_normal((n, width)).astype(np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def three_classes():
    weights = torch.from_numpy(unit_rows(3, 8, seed=1))
    return TextClassifier(weights, ("a", "b", "c"), logit_scale=20.0, logit_bias=-5.0)


def test_probabilities_are_the_softmax_of_scaled_cosines(three_classes, monkeypatch):
    monkeypatch.setattr(classifier, "CHUNK_ROWS", 4)
    features = unit_rows(11, 8)
    logits = 20.0 * features @ three_classes.weights.numpy().T - 5.0
    expected = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(three_classes.predict_proba(features), expected, rtol=1e-4)
    np.testing.assert_allclose(three_classes.logits(torch.from_numpy(features)), logits, atol=1e-4)
    tensor = three_classes.predict_proba(torch.from_numpy(features))
    np.testing.assert_allclose(tensor, expected, rtol=1e-4)


def test_length_of_features_does_not_matter_and_zeros_give_equal_chances(three_classes):
    features = unit_rows(2, 8)
    scaled = three_classes.predict_proba(7 * features)
    np.testing.assert_allclose(scaled, three_classes.predict_proba(features), rtol=1e-4)
    np.testing.assert_allclose(three_classes.predict_proba(np.zeros((1, 8))), [[1 / 3] * 3])


def test_saved_and_loaded_is_the_same(three_classes, tmp_path):
    save_tensors(tmp_path / "c.safetensors", three_classes.to_tensors())
    loaded = TextClassifier.from_tensors(load_tensors(tmp_path / "c.safetensors"), ["a", "b", "c"])
    assert torch.equal(loaded.weights, three_classes.weights)
    assert loaded.class_names == ("a", "b", "c")
    assert (loaded.logit_scale, loaded.logit_bias) == (20.0, -5.0)


def test_what_does_not_fit_is_refused(three_classes):
    with pytest.raises(InputError, match=r"features have 5 columns.*made for 8"):
        three_classes.predict_proba(np.ones((2, 5)))
    with pytest.raises(InputError, match="NaN or infinite values in 1 of 2 rows"):
        three_classes.predict_proba(np.array([[1.0] * 8, [np.nan] * 8]))
    with pytest.raises(InputError, match="K = 2 class names"):
        TextClassifier(torch.eye(3), ("a", "b"), 1.0)
    with pytest.raises(InputError, match="lacks logit_bias, weights"):
        TextClassifier.from_tensors({"logit_scale": torch.tensor(1.0)}, ["a", "b"])


def test_one_template_gives_the_text_features_themselves(tiny_backbone):
    made = zero_shot_classifier(tiny_backbone, ["cat", "sea_lion"])
    expected = tiny_backbone.encode_texts(["a photo of a cat.", "a photo of a sea lion."])
    torch.testing.assert_close(made.weights, expected, atol=1e-6, rtol=0)
    assert made.class_names == ("cat", "sea_lion")
    assert made.logit_scale == tiny_backbone.logit_scale


def test_several_templates_are_averaged_and_normalised(tiny_backbone):
    templates = ("a photo of a {}.", "{} texture.", "a dark {}.")
    made = zero_shot_classifier(tiny_backbone, ["cat", "dog"], templates, batch_size=2)
    for k, name in enumerate(["cat", "dog"]):
        features = [tiny_backbone.encode_texts([t.replace("{}", name)])[0] for t in templates]
        mean = (features[0] + features[1] + features[2]) / 3
        torch.testing.assert_close(made.weights[k], mean / mean.norm(), atol=1e-6, rtol=0)


def test_names_with_braces_are_taken_as_they_are(tiny_backbone):
    made = zero_shot_classifier(tiny_backbone, ["{0}", "{}"], "a {}.")
    expected = tiny_backbone.encode_texts(["a {0}.", "a {}."])
    torch.testing.assert_close(made.weights, expected, atol=1e-6, rtol=0)


def test_templates_by_name():
    assert resolve_templates("oxford-pets") == ("a photo of a {}, a type of pet.",)
    assert resolve_templates("a {}.") == ("a {}.",)
    assert resolve_templates(["a {}.", "b {}"]) == ("a {}.", "b {}")
    with pytest.raises(InputError, match=r"templates='pets' is not known; choose one of default,"):
        resolve_templates("pets")
    with pytest.raises(InputError, match=r"needs '\{\}' once.*\['no place', '\{\} and \{\}'\]"):
        resolve_templates(["no place", "a {}", "{} and {}"])
    with pytest.raises(InputError, match="needs"):
        resolve_templates([])


@pytest.mark.parametrize("name", list(TEMPLATES))
def test_every_template_has_one_place_and_none_is_repeated(name):
    assert all(template.count("{}") == 1 for template in TEMPLATES[name])
    assert len(set(TEMPLATES[name])) == len(TEMPLATES[name])
