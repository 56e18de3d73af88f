"""Layouts, trainable tensors and limits of learnable prompts."""

from __future__ import annotations

import pytest
import torch

from labelsieve.backbones import load_backbone
from labelsieve.core.exceptions import InputError
from labelsieve.prompts import PromptLearner
from tiny_clip import OLD_EOS_ID, build_tiny_clip

NAMES = ["cat", "sea_lion", "maple  tree", "xylophone"]


def embeddings_of(learner, full_context=False):
    with torch.no_grad():
        return learner(full_context=full_context)


def sorted_rows(matrix):
    """Rows of a matrix in an order that does not depend on where they were."""
    return matrix[torch.argsort(matrix[:, 0])]


def test_end_layout_is_start_context_name_period_end(tiny_backbone):
    learner = PromptLearner(tiny_backbone, NAMES, n_context=5)
    embeddings, end = embeddings_of(learner, full_context=True)
    assert embeddings.shape == (4, 77, 32)
    start, stop = tiny_backbone.frame
    for k, name in enumerate(["cat", "sea lion", "maple tree", "xylophone"]):
        ids = [*start, *tiny_backbone.token_ids(f"{name}."), *stop]
        frozen = tiny_backbone.embed_tokens(torch.tensor(ids))
        assert torch.equal(embeddings[k, 0], frozen[0])
        assert torch.equal(embeddings[k, 1:6], learner.context.detach())
        assert torch.equal(embeddings[k, 6 : 5 + len(ids)], frozen[1:])
        assert end[k] == 5 + len(ids) - 1
        padding = tiny_backbone.embed_tokens(torch.tensor([tiny_backbone.pad_id]))
        assert (embeddings[k, 5 + len(ids) :] == padding).all()


@pytest.mark.parametrize("n_context", [4, 5])
def test_middle_and_front_are_permutations_of_end(tiny_backbone, n_context):
    by_position = {
        position: PromptLearner(tiny_backbone, NAMES, n_context=n_context, position=position)
        for position in ("end", "middle", "front")
    }
    expected, end = embeddings_of(by_position["end"], full_context=True)
    for position in ("middle", "front"):
        embeddings, also = embeddings_of(by_position[position], full_context=True)
        assert torch.equal(end, also)
        for k, name in enumerate(["cat", "sea lion", "maple tree", "xylophone"]):
            assert torch.equal(sorted_rows(embeddings[k]), sorted_rows(expected[k]))
            n_name = len(tiny_backbone.token_ids(name))
            first = 1 + (n_context // 2 if position == "middle" else 0)
            before = expected[k, 1 + n_context : 1 + n_context + n_name]
            assert torch.equal(embeddings[k, first : first + n_name], before)


def test_end_index_is_context_plus_name_plus_two_in_every_layout(tiny_backbone):
    lengths = [len(tiny_backbone.token_ids(name.replace("_", " "))) for name in NAMES]
    for position in ("end", "middle", "front"):
        learner = PromptLearner(tiny_backbone, NAMES, n_context=6, position=position)
        assert learner.end.tolist() == [6 + length + 2 for length in lengths]


def test_old_eos_configs_have_the_same_layout(tmp_path, tiny_backbone):
    old = load_backbone(build_tiny_clip(tmp_path / "old", eos=OLD_EOS_ID), device="cpu")
    learner, expected = (PromptLearner(b, NAMES, n_context=4) for b in (old, tiny_backbone))
    assert torch.equal(learner.end, expected.end)


def test_trimmed_to_the_longest_prompt(tiny_backbone):
    learner = PromptLearner(tiny_backbone, NAMES, n_context=5)
    trimmed, end = embeddings_of(learner)
    full, _ = embeddings_of(learner, full_context=True)
    assert trimmed.shape[1] == int(end.max()) + 1
    assert torch.equal(trimmed, full[:, : trimmed.shape[1]])


@pytest.mark.parametrize(("class_specific", "shape"), [(False, (16, 32)), (True, (4, 16, 32))])
def test_one_trainable_tensor(tiny_backbone, class_specific, shape):
    learner = PromptLearner(tiny_backbone, NAMES, class_specific=class_specific)
    assert [name for name, _ in learner.named_parameters()] == ["context"]
    assert learner.context.shape == shape
    assert learner.context.dtype == torch.float32
    assert list(learner.state_dict()) == ["context"]
    embeddings, end = learner()
    tiny_backbone.encode_embeddings(embeddings, end).sum().backward()
    assert learner.context.grad is not None
    assert learner.context.grad.abs().sum(-1).min() > 0
    assert all(weight.grad is None for weight in tiny_backbone.model.parameters())


def test_class_specific_contexts_go_to_their_classes(tiny_backbone):
    learner = PromptLearner(tiny_backbone, NAMES, n_context=3, class_specific=True)
    embeddings, _ = embeddings_of(learner)
    assert torch.equal(embeddings[:, 1:4], learner.context.detach())
    assert not torch.equal(learner.context[0], learner.context[1])


def test_random_start_has_the_stated_spread_and_follows_the_generator(tiny_backbone):
    def context(seed):
        generator = torch.Generator().manual_seed(seed)
        learner = PromptLearner(tiny_backbone, NAMES, n_context=50, generator=generator)
        return learner.context.detach()

    assert torch.equal(context(1), context(1))
    assert not torch.equal(context(1), context(2))
    assert float(context(1).std()) == pytest.approx(0.02, rel=0.1)
    assert float(context(1).mean()) == pytest.approx(0.0, abs=0.002)


def test_initial_text_counts_tokens_not_words(tiny_backbone):
    learner = PromptLearner(tiny_backbone, NAMES, n_context=16, initial_text="a_xylophone of a")
    ids = tiny_backbone.token_ids("a xylophone of a")
    assert len(ids) > 4
    assert learner.n_context == len(ids)
    expected = tiny_backbone.embed_tokens(torch.tensor(ids))
    assert torch.equal(learner.context.detach(), expected)


@pytest.mark.parametrize("class_specific", [False, True])
def test_initial_text_gives_the_features_of_the_written_prompt(tiny_backbone, class_specific):
    learner = PromptLearner(
        tiny_backbone, NAMES, initial_text="a photo of a", class_specific=class_specific
    )
    names = ["cat", "sea lion", "maple tree", "xylophone"]
    expected = tiny_backbone.encode_texts([f"a photo of a {name}." for name in names])
    with torch.no_grad():
        features = tiny_backbone.encode_embeddings(*learner())
    torch.testing.assert_close(features, expected, atol=1e-6, rtol=0)


def test_initial_text_does_not_share_memory_with_the_model(tiny_backbone):
    learner = PromptLearner(tiny_backbone, NAMES, initial_text="a photo of a")
    before = tiny_backbone.embed_tokens(torch.tensor(tiny_backbone.token_ids("photo"))).clone()
    with torch.no_grad():
        learner.context.add_(1.0)
    after = tiny_backbone.embed_tokens(torch.tensor(tiny_backbone.token_ids("photo")))
    assert torch.equal(before, after)


def test_name_that_ends_in_punctuation(tiny_backbone):
    for position in ("end", "middle", "front"):
        learner = PromptLearner(tiny_backbone, ["u.s.", "cat"], n_context=4, position=position)
        ids = tiny_backbone.tokenize(["u.s.."]).ids[0]
        end = int((ids == tiny_backbone.tokenizer.eos_token_id).int().argmax())
        assert learner.ends[0] == 4 + end


@pytest.mark.parametrize("position", ["end", "middle", "front"])
def test_a_name_that_the_tokenizer_does_not_know_leaves_its_place_empty(tiny_backbone, position):
    arguments = {"n_context": 4, "position": position}
    learner = PromptLearner(
        tiny_backbone, ["cat", "sea<|endoftext|> lion", "<|endoftext|>"], **arguments
    )
    embeddings, end = embeddings_of(learner)
    expected, ends = embeddings_of(PromptLearner(tiny_backbone, ["cat", "sea lion"], **arguments))
    assert torch.equal(end, torch.tensor([*ends, ends[0] - 1]))
    assert torch.equal(embeddings[:2], expected)
    nothing = PromptLearner(tiny_backbone, ["<|endoftext|>", "<|endoftext|> "], **arguments)
    assert nothing.name_rows.shape == (0,)


def test_too_long_names_are_all_named(tiny_backbone):
    names = ["cat", "dog " * 70, "frog " * 80]
    with pytest.raises(InputError) as caught:
        PromptLearner(tiny_backbone, names)
    message = str(caught.value)
    assert "2 problems" in message
    assert "'dog dog" in message
    assert "needs 89 tokens, but tiny-clip takes at most 77" in message
    assert "'frog frog" in message


def test_longest_name_that_fits(tiny_backbone):
    learner = PromptLearner(tiny_backbone, ["cat", "dog " * 58], n_context=16)
    assert learner.ends[1] == 76
    assert embeddings_of(learner)[0].shape[1] == 77


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"position": "start"}, "position='start' is not known; choose one of end, middle, front"),
        ({"n_context": 0}, "n_context must be an integer"),
        ({"initial_text": "  "}, "holds no token"),
    ],
)
def test_wrong_arguments(tiny_backbone, arguments, message):
    with pytest.raises(InputError, match=message):
        PromptLearner(tiny_backbone, NAMES, **arguments)
