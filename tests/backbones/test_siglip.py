"""The SigLIP adapter gives the features that transformers gives."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from labelsieve.backbones import load_backbone
from labelsieve.core.exceptions import InputError
from labelsieve.prompts import PromptLearner, encode_prompts, zero_shot_classifier
from tiny_siglip import build_tiny_siglip

TEXTS = ["a photo of a cat.", "sea lion"]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory):
    path = build_tiny_siglip(tmp_path_factory.mktemp("siglip") / "model")
    return load_backbone(path, device="cpu", dtype="float32")


def test_text_features_equal_transformers(backbone):
    tokens = backbone.tokenize(TEXTS)
    assert tokens.ids.shape == (2, 64)
    assert tokens.end.tolist() == [63, 63]
    with torch.no_grad():
        raw = backbone.model.get_text_features(input_ids=tokens.ids).pooler_output
    torch.testing.assert_close(
        backbone.encode_texts(TEXTS), normalize(raw, dim=-1), atol=1e-6, rtol=0
    )


def test_logits_equal_transformers(backbone):
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    tokens = backbone.tokenize([f"a photo of a {name}." for name in ("cat", "dog")])
    with torch.no_grad():
        expected = backbone.model(input_ids=tokens.ids, pixel_values=pixels).logits_per_image
    classifier = zero_shot_classifier(backbone, ["cat", "dog"])
    logits = classifier.logits(backbone.encode_images(pixels))
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)
    assert backbone.logit_bias == pytest.approx(-16.5)
    assert (backbone.embed_dim, backbone.causal) == (32, False)


def test_prompts_take_the_plain_path_over_the_full_context(backbone):
    names = ["cat", "sea lion", "fire truck"]
    learner = PromptLearner(backbone, names, initial_text="a photo of a")
    embeddings, end = learner()
    assert embeddings.shape == (3, 64, 32)
    assert end.tolist() == [63] * 3
    expected = backbone.encode_texts([f"a photo of a {name}." for name in names])
    torch.testing.assert_close(encode_prompts(backbone, learner), expected, atol=1e-6, rtol=0)
    with pytest.raises(InputError, match="causal text tower"):
        encode_prompts(backbone, learner, method="shared-prefix")
