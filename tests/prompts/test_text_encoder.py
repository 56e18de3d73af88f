"""The shared-prefix computation equals the plain one, in values and gradients."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import normalize

from labelsieve.backbones import load_backbone
from labelsieve.backbones.clip import ClipBackbone
from labelsieve.core.exceptions import InputError
from labelsieve.prompts import PromptLearner, encode_prompts, encode_together, text_encoder
from labelsieve.prompts.frozen_tower import frozen_tower
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
    return torch.autograd.grad((features * weights).sum(), learner.context, retain_graph=True)[0]


def assert_same_gradient(features, expected, learner):
    wanted = gradient(expected, learner)
    scale = wanted.abs().max()
    assert scale > 0.01
    torch.testing.assert_close(
        gradient(features, learner) / scale, wanted / scale, atol=1e-5, rtol=0
    )


def assert_equal(backbone, learner, **options):
    expected = transformers_features(backbone, learner)
    features = encode_prompts(backbone, learner, **options)
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=0)
    assert_same_gradient(features, expected, learner)


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


@pytest.mark.parametrize("class_specific", [False, True])
@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("class_chunk", [None, 3])
def test_every_layout_equals_the_plain_forward(backbone, position, class_specific, class_chunk):
    learner = PromptLearner(
        backbone, NAMES, n_context=5, position=position, class_specific=class_specific
    )
    shared = {"end": 5, "middle": 2, "front": 0}[position]
    assert learner.prefix_length == 1 + (0 if class_specific else shared)
    plain = backbone.encode_embeddings(*learner(full_context=True))
    fast = encode_prompts(backbone, learner, method="shared-prefix", class_chunk=class_chunk)
    torch.testing.assert_close(fast, plain, atol=1e-5, rtol=0)
    assert_same_gradient(fast, plain, learner)


@pytest.mark.parametrize("class_chunk", [None, 3])
def test_two_learners_in_one_pass_equal_two_passes(backbone, class_chunk):
    positive = PromptLearner(backbone, NAMES, initial_text="a photo of a")
    negative = PromptLearner(backbone, NAMES[:5], n_context=6, position="middle")
    both = encode_together(backbone, [positive, negative], class_chunk=class_chunk)
    for found, learner in zip(both, (positive, negative), strict=True):
        plain = backbone.encode_embeddings(*learner(full_context=True))
        torch.testing.assert_close(found, plain, atol=1e-5, rtol=0)
        assert_same_gradient(found, plain, learner)


@pytest.mark.parametrize("method", ["shared-prefix", "plain"])
def test_activations_beyond_the_limit_are_computed_again(backbone, method, monkeypatch):
    learner = PromptLearner(backbone, NAMES, n_context=4)
    kept = encode_prompts(backbone, learner, method=method, class_chunk=2)
    expected = gradient(kept, learner)
    runs = []
    checkpoint = text_encoder.checkpoint
    monkeypatch.setattr(text_encoder, "KEPT_BYTES", 0)
    monkeypatch.setattr(
        text_encoder, "checkpoint", lambda *a, **k: runs.append(1) or checkpoint(*a, **k)
    )
    again = encode_prompts(backbone, learner, method=method, class_chunk=2)
    assert torch.equal(again, kept)
    torch.testing.assert_close(gradient(again, learner), expected, atol=1e-5, rtol=1e-5)
    assert len(runs) == 3  # of four chunks one is always kept
    with torch.no_grad():
        encode_prompts(backbone, learner, method=method, class_chunk=2)
    assert len(runs) == 3


def test_default_chunks_change_nothing(backbone, monkeypatch):
    learner = PromptLearner(backbone, NAMES, n_context=4)
    whole = encode_prompts(backbone, learner)
    monkeypatch.setattr(text_encoder, "CHUNK_TOKENS", 9)
    chunked = encode_prompts(backbone, learner)
    torch.testing.assert_close(chunked, whole, atol=1e-6, rtol=0)
    assert_same_gradient(chunked, whole, learner)


def test_bfloat16_stays_within_its_tolerance(backbone):
    learner = PromptLearner(backbone, NAMES, n_context=4)
    exact = encode_prompts(backbone, learner)  # see docs/speed.md for the tolerance
    with torch.autocast("cpu", torch.bfloat16):
        rounded = encode_prompts(backbone, learner)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert (rounded * exact).sum(dim=-1).min() > 0.9995
    wanted, found = gradient(exact, learner), gradient(rounded, learner)
    assert (found - wanted).norm() < 0.03 * wanted.norm()


def test_weights_are_made_ready_once_and_again_when_they_change(tiny_clip_dir):
    backbone = load_backbone(tiny_clip_dir, device="cpu")
    model = backbone.model
    first = frozen_tower(model, torch.float32)
    assert frozen_tower(model, torch.float32) is first
    assert frozen_tower(model, torch.bfloat16).blocks[0].qkv.weight.dtype == torch.bfloat16
    assert frozen_tower(model, torch.float32) is first
    layer = model.text_model.encoder.layers[0]
    with torch.no_grad():
        layer.mlp.fc1.weight.mul_(2.0)
    assert frozen_tower(model, torch.float32) is not first
    learner = PromptLearner(backbone, NAMES, n_context=4)
    plain = backbone.encode_embeddings(*learner(full_context=True))
    torch.testing.assert_close(encode_prompts(backbone, learner), plain, atol=1e-5, rtol=0)
    layer.mlp.fc1.weight.requires_grad_(True)
    encode_prompts(backbone, learner).sum().backward()
    assert layer.mlp.fc1.weight.grad.abs().max() > 0


def test_auto_takes_the_shared_prefix_where_it_holds(backbone, monkeypatch):
    learner = PromptLearner(backbone, NAMES, n_context=4)
    monkeypatch.setattr(text_encoder, "_encode_shared", lambda *_: [torch.zeros(7, 24)])
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
