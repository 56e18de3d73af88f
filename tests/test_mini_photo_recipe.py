"""The recipe of mini-photo: what its captions claim, and its way through half of the patches."""

import numpy as np
import pytest
import torch
from recipes.mini_glyph.tokens import train_tokenizer
from recipes.mini_photo.augment import SIDE, augment, normalise
from recipes.mini_photo.captions import Captions
from recipes.mini_photo.model import CONTEXT_LENGTH, build_model, encode_some_patches
from recipes.mini_photo.words import TEMPLATES, broader_words
from torch.testing import assert_close

NAMES = ["tabby", "Persian cat", "goldfish", "moving van"]
SYNONYMS = {
    "tabby": "tabby, tabby cat",
    "Persian cat": "Persian cat",
    "goldfish": "goldfish, Carassius auratus",
    "moving van": "moving van",
}


@pytest.fixture(scope="module")
def captions():
    return Captions(NAMES, SYNONYMS)


@pytest.fixture(scope="module")
def model(captions):
    torch.manual_seed(0)
    corpus = captions.corpus(5, np.random.default_rng(0))
    tokenizer = train_tokenizer(corpus, vocabulary=400, context=CONTEXT_LENGTH, lowercase=True)
    return build_model(tokenizer, width=64, depth=1).eval()


def test_broader_words_are_true_of_each_class_they_cover(captions):
    assert captions.covered["cat"] == [0, 1]
    assert captions.covered["pet"] == [0, 1, 2]
    assert captions.covered["truck"] == [3]
    assert captions.covered["carassius auratus"] == [2]
    assert all(len(set(classes)) == len(classes) for classes in broader_words().values())


def test_a_caption_is_true_of_every_class_that_its_word_covers(captions, monkeypatch):
    monkeypatch.setattr("recipes.mini_photo.captions._PADDED", 0.0)
    labels = [0, 1, 2, 3] * 50
    texts, truth = captions.draw(labels, np.random.default_rng(0))
    assert truth[torch.arange(200), labels].all()
    for text, row in zip(texts, truth.tolist(), strict=True):
        word = max((w for w in captions.covered if w in text.lower()), key=len)
        assert [k for k in range(4) if row[k]] == captions.covered[word]
    assert {tuple(row) for row in truth.tolist()} >= {(True, True, False, False)}
    assert all(template.count("{}") == 1 for template in TEMPLATES)


def test_all_patches_give_the_features_of_the_plain_model(model):
    pixels = normalise(torch.rand(3, 3, SIDE, SIDE))
    with torch.no_grad():
        plain = model.get_image_features(pixel_values=pixels).pooler_output
        ours = encode_some_patches(model, pixels, 1.0, torch.Generator())
    assert_close(ours, torch.nn.functional.normalize(plain, dim=-1), atol=1e-5, rtol=1e-5)


def test_half_of_the_patches_still_see_the_image(model):
    pixels = normalise(torch.rand(3, 3, SIDE, SIDE))
    with torch.no_grad():
        some = encode_some_patches(model, pixels, 0.5, torch.Generator().manual_seed(0))
        other = encode_some_patches(model, pixels, 0.5, torch.Generator().manual_seed(1))
    assert_close(some.norm(dim=1), torch.ones(3))
    assert not torch.allclose(some, other)


def test_augmentation_is_decided_by_its_generator():
    images = torch.randint(0, 256, (8, 3, SIDE, SIDE), dtype=torch.uint8)
    one, two = (augment(images, torch.Generator().manual_seed(3)) for _ in range(2))
    assert torch.equal(one, two)
    assert one.shape == images.shape
    low, high = normalise(torch.zeros(3, 1, 1)), normalise(torch.ones(3, 1, 1))
    assert (one >= low - 1e-5).all()
    assert (one <= high + 1e-5).all()
