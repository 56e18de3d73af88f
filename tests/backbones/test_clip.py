"""The CLIP adapter gives the features that transformers gives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from labelsieve.backbones import load_backbone
from labelsieve.core.exceptions import InputError
from tiny_clip import OLD_EOS_ID, build_tiny_clip, build_tokenizer

TEXTS = ["a photo of a cat.", "sea lion", "a dark drawing of two xylophones, 3 dogs and a truck"]


@pytest.fixture(scope="module", params=["true eos", "old eos"])
def backbone(request, tmp_path_factory):
    eos = OLD_EOS_ID if request.param == "old eos" else None
    path = build_tiny_clip(tmp_path_factory.mktemp("clip") / "model", eos=eos)
    return load_backbone(path, device="cpu", dtype="float32")


def reference_text_features(backbone, ids):
    with torch.no_grad():
        return normalize(backbone.model.get_text_features(input_ids=ids).pooler_output, dim=-1)


def noise_images(n, size=(40, 50), seed=0):
    draw = np.random.default_rng(seed)
    return [Image.fromarray(draw.integers(0, 256, (*size, 3), dtype=np.uint8)) for _ in range(n)]


def test_the_tiny_tokenizer_is_the_same_in_every_process():
    ids = build_tokenizer()("a photo of a sea lion, zoo.")["input_ids"]
    assert ids == [653, 320, 628, 620, 320, 641, 616, 267, 89, 78, 334, 269, 654]
    assert build_tokenizer().get_vocab() == build_tokenizer().get_vocab()


def test_text_features_equal_transformers(backbone):
    tokens = backbone.tokenize(TEXTS)
    expected = reference_text_features(backbone, tokens.ids)
    torch.testing.assert_close(backbone.encode_texts(TEXTS), expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(
        backbone.encode_embeddings(backbone.embed_tokens(tokens.ids), tokens.end),
        expected,
        atol=1e-6,
        rtol=0,
    )
    assert (expected @ expected.T)[0, 1] < 0.99  # or the comparison would say little


def test_tokens_equal_the_tokenizers_and_end_is_the_first_end_token(backbone):
    tokens = backbone.tokenize(TEXTS)
    padded = backbone.tokenizer(TEXTS, padding="max_length", max_length=77)["input_ids"]
    assert tokens.ids.tolist() == padded
    end_token = backbone.tokenizer.eos_token_id
    assert tokens.end.tolist() == [row.index(end_token) for row in padded]


def test_the_end_token_inside_a_text_does_not_end_it(backbone):
    texts = ["a sea<|endoftext|> lion.", "a sea lion."]
    ids = [backbone.token_ids(text) for text in texts]
    assert ids[0] == ids[1] != []
    assert torch.equal(*backbone.encode_texts(texts))
    assert backbone.token_ids("<|endoftext|>") == []


def test_batch_size_does_not_matter(backbone):
    torch.testing.assert_close(
        backbone.encode_texts(TEXTS, batch_size=1), backbone.encode_texts(TEXTS), atol=1e-6, rtol=0
    )


def test_no_text_gives_no_row(backbone):
    assert backbone.encode_texts([]).shape == (0, backbone.embed_dim)


def test_image_features_equal_transformers(backbone):
    images = noise_images(3)
    expected_pixels = backbone.processor(images, return_tensors="pt")["pixel_values"]
    pixels = backbone.preprocess(images)
    assert pixels.shape == (3, 3, 32, 32)
    assert pixels.dtype == torch.float32
    assert torch.equal(pixels, expected_pixels.float())
    with torch.no_grad():
        raw = backbone.model.get_image_features(pixel_values=pixels).pooler_output
    features = backbone.encode_images(pixels)
    torch.testing.assert_close(features, normalize(raw, dim=-1), atol=1e-6, rtol=0)
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(3))


def test_everything_is_frozen_and_in_evaluation_mode(backbone):
    assert not any(weight.requires_grad for weight in backbone.model.parameters())
    assert not any(module.training for module in backbone.model.modules())


def test_attributes(backbone):
    assert (backbone.image_size, backbone.embed_dim, backbone.text_width) == (32, 24, 32)
    assert backbone.context_length == 77
    assert backbone.logit_scale == pytest.approx(100.0, rel=1e-4)
    assert backbone.logit_bias == 0.0
    assert backbone.commit is None
    assert backbone.causal


def test_too_long_text_is_named(backbone):
    with pytest.raises(
        InputError, match=r"'dog dog .* needs 82 tokens, but model takes at most 77"
    ):
        backbone.encode_texts(["cat", "dog " * 80])


def test_gradient_of_the_plain_path_agrees_with_finite_differences(backbone):
    tokens = backbone.tokenize(["a photo of a cat."])
    ids = tokens.ids[:, : int(tokens.end) + 1]
    embeddings = backbone.embed_tokens(ids).requires_grad_()
    direction = torch.randn(embeddings.shape, generator=torch.Generator().manual_seed(0))
    weights = torch.randn(24, generator=torch.Generator().manual_seed(1))

    def value(x):
        return float(backbone.encode_embeddings(x, tokens.end)[0].double() @ weights.double())

    (backbone.encode_embeddings(embeddings, tokens.end)[0] @ weights).backward()
    step = 1e-3
    with torch.no_grad():
        numeric = (value(embeddings + step * direction) - value(embeddings - step * direction)) / (
            2 * step
        )
    assert float((embeddings.grad * direction).sum()) == pytest.approx(numeric, rel=1e-2)


def test_half_precision_reaches_the_image_tower_only(tiny_clip_dir, tiny_backbone):
    half = load_backbone(tiny_clip_dir, device="cpu", dtype="bfloat16")
    pixels = half.preprocess(noise_images(2))
    features = half.encode_images(pixels)
    assert features.dtype == torch.float32
    assert half.model.vision_model.embeddings.class_embedding.dtype == torch.bfloat16
    assert ((features * tiny_backbone.encode_images(pixels)).sum(-1) > 0.995).all()
    assert torch.equal(half.encode_texts(["cat"]), tiny_backbone.encode_texts(["cat"]))
