"""The shared-prefix computation equals the plain one, in values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from labelsieve.backbones import load_backbone
from labelsieve.backbones.clip import ClipBackbone
from labelsieve.core.exceptions import InputError
from labelsieve.prompts import PromptLearner, encode_prompts, text_encoder
from tiny_clip import OLD_EOS_ID, build_tiny_clip, spread_biases

NAMES = ["cat", "sea lion", "maple tree", "xylophone", "u.s.", "a very dark fire truck", "dog"]


@pytest.fixture(scope="module", params=["true eos", "old eos"])
def backbone(request, tmp_path_factory):
    eos = OLD_EOS_ID if request.param == "old eos" else None
    path = build_tiny_clip(tmp_path_factory.mktemp("clip") / "model", eos=eos)
    return load_backbone(path, device="cpu", dtype="float32")


def transformers_features(backbone, learner):
    """The model's own forward over the full context, with the context put into its input."""
    embeddings, _ = learner(full_context=True)
    n_classes, length, _ = embeddings.shape
    ids = torch.full((n_classes, length), backbone.pad_id)
    for k, name in enumerate(learner.class_names):
        own = [*backbone.token_ids(f"{name}."), *backbone.frame[1]]
        ids[k, 0] = backbone.frame[0][0]
        ids[k, 1 : learner.prefix_length] = backbone.token_ids("a")[0]
        ids[k, learner.prefix_length : learner.prefix_length + len(own)] = torch.tensor(own)
    table = backbone.model.text_model.embeddings.token_embedding
    hook = table.register_forward_hook(lambda *_: embeddings)
    try:
        raw = backbone.model.get_text_features(input_ids=ids).pooler_output
    finally:
        hook.remove()
    return normalize(raw, dim=-1)


def gradient(features, learner):
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(3))
    return torch.autograd.grad((features * weights).sum(), learner.context)[0]


def assert_equal(backbone, learner, **options):
    expected = transformers_features(backbone, learner)
    features = encode_prompts(backbone, learner, **options)
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=0)
    expected_gradient = gradient(expected, learner)
    scale = expected_gradient.abs().max()
    assert scale > 0.01
    torch.testing.assert_close(
        gradient(features, learner) / scale, expected_gradient / scale, atol=1e-5, rtol=0
    )


@pytest.mark.parametrize("n_context", [1, 4, 16])
@pytest.mark.parametrize("method", ["shared-prefix", "plain"])
def test_equals_transformers(backbone, n_context, method):
    assert_equal(backbone, PromptLearner(backbone, NAMES, n_context=n_context), method=method)


@pytest.mark.parametrize("class_chunk", [1, 3, 100])
def test_chunks_change_nothing(backbone, class_chunk):
    learner = PromptLearner(backbone, NAMES, n_context=4)
    assert_equal(backbone, learner, method="shared-prefix", class_chunk=class_chunk)
    assert_equal(backbone, learner, method="plain", class_chunk=class_chunk)


def test_equals_transformers_after_training_steps(backbone):
    learner = PromptLearner(backbone, NAMES, initial_text="a photo of a")
    with torch.no_grad():
        learner.context.add_(torch.randn(4, 32, generator=torch.Generator().manual_seed(0)))
    assert_equal(backbone, learner, method="shared-prefix")


@pytest.mark.parametrize("activation", ["gelu", "quick_gelu"])
def test_towers_own_activation_is_used(tiny_clip_dir, activation):
    from transformers.activations import ACT2FN

    backbone = load_backbone(tiny_clip_dir, device="cpu")
    for layer in backbone.model.text_model.encoder.layers:
        layer.mlp.activation_fn = ACT2FN[activation]
    assert_equal(backbone, PromptLearner(backbone, NAMES, n_context=4), method="shared-prefix")


@pytest.mark.parametrize(
    "options",
    [{"class_specific": True}, {"position": "front"}, {"position": "middle"}],
)
def test_other_layouts_fall_back_to_plain(backbone, options):
    learner = PromptLearner(backbone, NAMES, n_context=4, **options)
    expected = backbone.encode_embeddings(*learner(full_context=True))
    torch.testing.assert_close(encode_prompts(backbone, learner), expected, atol=1e-5, rtol=0)
    with pytest.raises(InputError, match="position='end'"):
        encode_prompts(backbone, learner, method="shared-prefix")


def test_auto_takes_the_shared_prefix_where_it_holds(backbone, monkeypatch):
    learner = PromptLearner(backbone, NAMES, n_context=4)
    monkeypatch.setattr(text_encoder, "_encode_shared", lambda *_: torch.zeros(7, 24))
    assert (encode_prompts(backbone, learner) == 0).all()
    assert (encode_prompts(backbone, learner, method="plain") != 0).any()


def test_frozen_weights_get_no_gradient_and_rows_have_length_one(backbone):
    learner = PromptLearner(backbone, NAMES, n_context=4)
    features = encode_prompts(backbone, learner)
    features.sum().backward()
    torch.testing.assert_close(features.norm(dim=-1), torch.ones(len(NAMES)))
    assert all(weight.grad is None for weight in backbone.model.parameters())


def test_wrong_arguments(backbone):
    learner = PromptLearner(backbone, NAMES, n_context=4)
    with pytest.raises(InputError, match="method='fast' is not known"):
        encode_prompts(backbone, learner, method="fast")
    with pytest.raises(InputError, match="class_chunk must be an integer"):
        encode_prompts(backbone, learner, class_chunk=0)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_gives_the_same_features(tiny_clip_dir, tiny_backbone):
    there = load_backbone(tiny_clip_dir, device="cuda")
    texts = there.encode_texts(NAMES).cpu()
    torch.testing.assert_close(texts, tiny_backbone.encode_texts(NAMES), atol=1e-4, rtol=0)
    features = encode_prompts(there, PromptLearner(there, NAMES, n_context=4)).detach().cpu()
    expected = encode_prompts(tiny_backbone, PromptLearner(tiny_backbone, NAMES, n_context=4))
    torch.testing.assert_close(features, expected.detach(), atol=1e-4, rtol=0)


@pytest.mark.slow
@pytest.mark.shared
def test_full_size_text_tower_with_clips_tokenizer(shared_dir):
    from transformers import AutoTokenizer, CLIPConfig, CLIPModel

    end = 49407
    config = CLIPConfig(
        text_config={"bos_token_id": end - 1, "eos_token_id": end, "pad_token_id": end},
        vision_config={
            "hidden_size": 8,
            "intermediate_size": 8,
            "num_hidden_layers": 1,
            "num_attention_heads": 1,
            "image_size": 32,
        },
        attn_implementation="sdpa",
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CLIPModel(config).eval()
        spread_biases(model)
    backbone = ClipBackbone(
        model.requires_grad_(False),
        AutoTokenizer.from_pretrained(shared_dir / "models" / "clip-tokenizer"),
        None,
        model_id="random ViT-B/32",
        commit=None,
        weights_hash=None,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )
    names = ["aquarium fish", "maple tree", "U.S.", "pickup truck", "x-ray", "bowl", "sweet pepper"]
    assert_equal(backbone, PromptLearner(backbone, names), method="shared-prefix")
    written = PromptLearner(backbone, names, initial_text="a photo of a")
    expected = backbone.encode_texts([f"a photo of a {name}." for name in names])
    torch.testing.assert_close(encode_prompts(backbone, written), expected, atol=1e-5, rtol=0)
    assert written.n_context == 4
