"""What stands in the place of the class name, and that the fast encoder stays exact for it."""

import pytest
import torch
from torch.nn.functional import normalize

from labelsieve.core.exceptions import InputError
from labelsieve.prompts import CLASS_TOKENS, PromptLearner, encode_prompts
from labelsieve.prompts.class_tokens import random_like, shuffled_names
from labelsieve.prompts.text_encoder import has_shared_prefix

NAMES = ["cat", "sea lion", "maple tree", "xylophone", "u.s.", "a very dark fire truck", "dog"]


def learner_for(backbone, class_tokens, seed=0, **options):
    generator = torch.Generator().manual_seed(seed)
    return PromptLearner(
        backbone, NAMES, n_context=4, class_tokens=class_tokens, generator=generator, **options
    )


def name_slots(backbone, position="end"):
    """Where the names stand, counted by hand: start token, 4 context tokens, the name."""
    first = 1 + {"end": 4, "middle": 2, "front": 0}[position]
    return [(first, len(backbone.token_ids(name))) for name in NAMES]


def embeddings_by_hand(backbone, learner, position):
    """(K, 77, d) from the tokens of the plain text, differentiable in what is trained."""
    context, rows = learner.context, []
    lengths = [n for _, n in name_slots(backbone)]
    bodies = [backbone.token_ids(f"{name}.") for name in NAMES]
    ids = [token for body, n in zip(bodies, lengths, strict=True) for token in body[:n]]
    names = backbone.embed_tokens(torch.tensor(ids))
    names = learner.name_tokens if learner.name_tokens is not None else names
    before = {"end": 4, "middle": 2, "front": 0}[position]
    for body, n in zip(bodies, lengths, strict=True):
        own, names = names[:n], names[n:]
        around = [*backbone.frame[0], *body[n:], *backbone.frame[1]]
        frozen = backbone.embed_tokens(torch.tensor(around))
        parts = [frozen[:1], context[:before], own, context[before:], frozen[1:]]
        length = sum(map(len, parts))
        padding = torch.full((77 - length,), backbone.pad_id)
        rows.append(torch.cat([*parts, backbone.embed_tokens(padding)]))
    return torch.stack(rows)


def transformers_features(backbone, embeddings, end):
    """The model's own forward over all 77 tokens, read out at `end`."""
    ids = torch.full(embeddings.shape[:2], backbone.token_ids("a")[0])
    ids[torch.arange(len(end)), end] = backbone.tokenizer.eos_token_id
    table = backbone.model.text_model.embeddings.token_embedding
    hook = table.register_forward_hook(lambda *_: embeddings)
    try:
        raw = backbone.model.get_text_features(input_ids=ids).pooler_output
    finally:
        hook.remove()
    return normalize(raw, dim=-1)


def gradients(features, learner):
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(3))
    trained = [p for p in learner.parameters() if p.requires_grad]
    return torch.autograd.grad((features * weights).sum(), trained)


@pytest.mark.parametrize("position", ["end", "middle", "front"])
@pytest.mark.parametrize("class_tokens", CLASS_TOKENS)
def test_equals_the_plain_forward(tiny_backbone, class_tokens, position):
    learner = learner_for(tiny_backbone, class_tokens, position=position)
    with torch.no_grad():  # away from the start, where tuned names are still the names
        for parameter in learner.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    if class_tokens in ("random", "shuffled"):
        embeddings = learner(full_context=True)[0]
    else:
        embeddings = embeddings_by_hand(tiny_backbone, learner, position)
    expected = transformers_features(tiny_backbone, embeddings, learner.end)
    wanted = gradients(expected, learner)
    for method in ("auto", "plain", "shared-prefix"):
        for chunk in (None, 3):
            features = encode_prompts(tiny_backbone, learner, method=method, class_chunk=chunk)
            torch.testing.assert_close(features, expected, atol=1e-5, rtol=0)
            found = gradients(features, learner)
            assert len(found) == {"tuned": 2}.get(class_tokens, 1)
            for a, b in zip(found, wanted, strict=True):
                scale = b.abs().max()
                assert scale > 0.01
                torch.testing.assert_close(a / scale, b / scale, atol=1e-5, rtol=0)
    assert has_shared_prefix(tiny_backbone, learner)


def test_class_specific_contexts_with_tuned_names(tiny_backbone):
    learner = learner_for(tiny_backbone, "tuned", class_specific=True)
    embeddings, end = learner(full_context=True)
    expected = transformers_features(tiny_backbone, embeddings, end)
    features = encode_prompts(tiny_backbone, learner)
    torch.testing.assert_close(features, expected, atol=1e-5, rtol=0)
    assert [g.shape for g in gradients(features, learner)] == [
        (7, 4, 32),
        learner.name_tokens.shape,
    ]


@pytest.mark.parametrize(
    ("class_tokens", "trained"),
    [
        ("names", ["context"]),
        ("random", ["context"]),
        ("shuffled", ["context"]),
        ("tuned", ["context", "name_tokens"]),
        ("tuned-only", ["name_tokens"]),
    ],
)
def test_what_is_trained(tiny_backbone, class_tokens, trained):
    learner = learner_for(tiny_backbone, class_tokens)
    assert [n for n, p in learner.named_parameters() if p.requires_grad] == trained
    n_tokens = sum(n for _, n in name_slots(tiny_backbone))
    if learner.name_tokens is not None:
        assert learner.name_tokens.shape == (n_tokens, 32)
    start = learner_for(tiny_backbone, "names")
    assert torch.equal(learner.context, start.context)  # the same draw for all
    same = class_tokens in ("names", "tuned", "tuned-only")
    assert torch.equal(learner()[0], start()[0]) == same


@pytest.mark.parametrize("position", ["end", "middle", "front"])
def test_random_tokens_replace_the_name_and_nothing_else(tiny_backbone, position):
    random = learner_for(tiny_backbone, "random", position=position)()[0]
    plain = learner_for(tiny_backbone, "names", position=position)()[0]
    differs = (random != plain).all(dim=-1)
    for k, (first, n) in enumerate(name_slots(tiny_backbone, position)):
        expected = torch.zeros(plain.shape[1], dtype=torch.bool)
        expected[first : first + n] = True
        assert torch.equal(differs[k], expected)
        assert torch.equal(random[k][~expected], plain[k][~expected])
    again = learner_for(tiny_backbone, "random", seed=1, position=position)()[0]
    assert not torch.equal(random, again)
    assert torch.equal(random, learner_for(tiny_backbone, "random", position=position)()[0])


def test_random_tokens_have_the_spread_of_the_names():
    names = torch.randn(400, 32, generator=torch.Generator().manual_seed(0)) * 0.3
    draws = random_like(names, torch.Generator().manual_seed(1))
    assert float(draws.std()) == pytest.approx(float(names.std()), rel=0.02)
    assert abs(float((draws * names).mean())) < 0.01


def test_shuffled_names_are_those_of_other_classes(tiny_backbone):
    for seed in range(30):
        names = shuffled_names(NAMES, torch.Generator().manual_seed(seed))
        assert sorted(names) == sorted(NAMES)
        assert all(a != b for a, b in zip(names, NAMES, strict=True))
    learner = learner_for(tiny_backbone, "shuffled")
    generator = torch.Generator().manual_seed(0)
    torch.randn(4, 32, generator=generator)  # the context is drawn first
    expected = PromptLearner(tiny_backbone, shuffled_names(NAMES, generator), n_context=4)
    with torch.no_grad():
        expected.context.copy_(learner.context)
    assert torch.equal(learner()[0], expected()[0])
    assert learner.class_names == tuple(NAMES)


def test_a_tower_that_is_not_causal(tmp_path):
    from labelsieve.backbones import load_backbone
    from tiny_siglip import build_tiny_siglip

    backbone = load_backbone(build_tiny_siglip(tmp_path / "siglip"), device="cpu")
    learner = PromptLearner(backbone, ["cat", "dog"], n_context=2, class_tokens="tuned")
    features = encode_prompts(backbone, learner)
    assert all(g.abs().max() > 0 for g in gradients(features, learner))
    assert not has_shared_prefix(backbone, learner)


def test_unknown_choice(tiny_backbone):
    with pytest.raises(InputError, match="class_tokens='none' is not known; choose one of names"):
        learner_for(tiny_backbone, "none")
