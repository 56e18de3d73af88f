"""Models of open_clip, with random weights: equal to open_clip's own computation."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image
from torch.nn.functional import normalize

from labelsieve.backbones import load_backbone
from labelsieve.backbones import open_clip as adapter
from labelsieve.backbones.image_models import load_encoder
from labelsieve.backbones.open_clip_parts import Tokenizer
from labelsieve.core.exceptions import InputError, MissingExtraError, ModelUnavailableError
from labelsieve.prompts import PromptLearner, encode_prompts
from labelsieve.tuners.coop import CoOp
from labelsieve.tuners.fine_tune import FineTune

NAMES = ["cat", "sea lion", "xylophone", "a very dark fire truck"]


@pytest.fixture(scope="module", params=["RN50", "RN50-quickgelu", "ViT-B-32"])
def pair(request):
    """open_clip's model and the adapter around it."""
    open_clip = pytest.importorskip("open_clip")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.create_model(request.param, pretrained=None).eval()
        with torch.no_grad():  # at their start, norms, biases and scales would hide a mix-up
            for name, weight in model.named_parameters():
                if any(part in name for part in ("ln_", "bn", "bias")):
                    weight.add_(0.1 * torch.randn_like(weight))
    tokenizer = open_clip.get_tokenizer(request.param)
    return model, adapter.adapt_open_clip(model, tokenizer, model_id=f"random {request.param}")


@pytest.mark.slow  # RN50 and its kin are of full size
def test_texts_as_open_clip(pair):
    model, backbone = pair
    import open_clip

    texts = [f"a photo of a {name}." for name in NAMES]
    ids = open_clip.get_tokenizer("RN50")(texts)
    tokens = backbone.tokenize(texts)
    assert torch.equal(tokens.ids, ids)
    assert torch.equal(tokens.end, ids.argmax(dim=1))
    with torch.no_grad():
        expected = model.encode_text(ids, normalize=True)
    torch.testing.assert_close(backbone.encode_texts(texts), expected, atol=1e-5, rtol=0)


@pytest.mark.slow  # RN50 and its kin are of full size
def test_images_as_open_clip(pair):
    model, backbone = pair
    from open_clip.transform import PreprocessCfg, image_transform_v2

    own = image_transform_v2(PreprocessCfg(**model.visual.preprocess_cfg), is_train=False)
    rng = np.random.default_rng(0)
    images = [
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8))
        for size in ((64, 64), (300, 224), (448, 896))
    ]
    expected_pixels = torch.stack([own(image) for image in images])
    pixels = backbone.preprocess(images)
    torch.testing.assert_close(pixels, expected_pixels, atol=1e-5, rtol=0)
    with torch.no_grad():
        expected = normalize(model.encode_image(expected_pixels), dim=-1)
    found = backbone.encode_images(pixels)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    assert found.shape[1] == backbone.embed_dim
    # In evaluation mode a batch norm does not see what else is in the batch.
    torch.testing.assert_close(backbone.encode_images(pixels[:1]), found[:1], atol=1e-5, rtol=0)


@pytest.mark.slow  # RN50 and its kin are of full size
def test_the_shared_prefix_equals_the_plain_encoding(pair):
    _, backbone = pair
    learner = PromptLearner(backbone, NAMES, n_context=4)
    found, plain = (
        encode_prompts(backbone, learner, method=method) for method in ("shared-prefix", "plain")
    )
    torch.testing.assert_close(found, plain, atol=1e-5, rtol=0)
    weights = torch.randn(found.shape, generator=torch.Generator().manual_seed(3))
    a, b = (
        torch.autograd.grad((features * weights).sum(), learner.context)[0]
        for features in (found, plain)
    )
    torch.testing.assert_close(a / b.abs().max(), b / b.abs().max(), atol=1e-5, rtol=0)


@pytest.mark.slow  # RN50 and its kin are of full size
def test_prompts_are_tuned_on_it(pair):
    _, backbone = pair
    x = np.random.default_rng(0).normal(size=(12, backbone.embed_dim))
    tuner = CoOp(backbone, class_names=NAMES, epochs=2).fit(x, np.arange(12) % 4)
    assert tuner.predict_proba(x).shape == (12, 4)
    assert not any(p.requires_grad for p in backbone.model.parameters())
    assert backbone.fingerprint == backbone.fingerprint
    assert backbone.logit_scale == pytest.approx(1 / 0.07, rel=1e-3)


@pytest.mark.slow  # RN50 and its kin are of full size
def test_visual_tuning_is_refused_with_a_reason(pair, tmp_path):
    from labelsieve.data import load_images
    from problems import write_colour_tree

    images = load_images(write_colour_tree(tmp_path, per_class=3))
    with pytest.raises(InputError, match="cannot be tuned"):
        FineTune(pair[1], epochs=1).fit(images)


def test_loading_says_what_is_wrong():
    pytest.importorskip("open_clip")
    with pytest.raises(InputError, match="open_clip:NAME/WEIGHTS"):
        load_backbone("open_clip:RN50")
    for load in (load_backbone, load_encoder):
        with pytest.raises(ModelUnavailableError, match="open_clip cannot load 'open_clip:RN5/x'"):
            load("open_clip:RN5/x", offline=True)


@pytest.mark.slow  # RN50 and its kin are of full size
def test_another_text_tower_is_refused():
    open_clip = pytest.importorskip("open_clip")
    model = open_clip.create_model("coca_ViT-B-32", pretrained=None)
    with pytest.raises(InputError, match="not CLIP's"):
        adapter.adapt_open_clip(model, open_clip.get_tokenizer("RN50"), model_id="coca")


@pytest.mark.slow  # RN50 and its kin are of full size
def test_a_file_of_weights_will_do(tmp_path):
    """The whole way from an id: name, weights, tokenizer, preprocessing."""
    open_clip = pytest.importorskip("open_clip")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = open_clip.create_model("RN50", pretrained=None).eval()
    path = tmp_path / "weights.pt"
    torch.save(model.state_dict(), path)
    backbone = load_backbone(f"open_clip:RN50/{path}", device="cpu", offline=True)
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = normalize(model.encode_image(pixels), dim=-1)
    torch.testing.assert_close(backbone.encode_images(pixels), expected, atol=1e-5, rtol=0)


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "open_clip", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'labelsieve\[open-clip\]'"):
        load_backbone("open_clip:RN50/openai")


def test_the_tokenizer_takes_what_a_backbone_asks_for():
    # Without open_clip: where it is not installed, nothing else runs the adapter's tokenizer.
    stand_in = SimpleNamespace(encode=lambda text: [7, len(text)], sot_token_id=1, eot_token_id=2)
    owner = SimpleNamespace(tokenizer=Tokenizer(stand_in))
    assert adapter.OpenClipBackbone.token_ids(owner, "cat") == [7, 3]
    assert owner.tokenizer("cat")["input_ids"] == [1, 7, 3, 2]
