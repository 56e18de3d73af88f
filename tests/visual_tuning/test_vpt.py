"""Prompts in the vision tower, against the loop of the paper."""

from __future__ import annotations

import math

import pytest
import torch
from helpers_visual import make, run, textbook


def layer_inputs(backbone, pixels, tuning):
    """What enters each block, and what leaves the encoder."""
    seen = []
    layers = backbone.vision_tower.encoder.layers
    with tuning.attached(backbone):  # after its hooks, so that these see the changed inputs
        handles = [
            layer.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
            for layer in layers
        ]
        with torch.no_grad():
            seen.append(backbone.vision_tower(pixels).last_hidden_state)
    for handle in handles:
        handle.remove()
    return seen


@pytest.mark.parametrize("name", ["vpt-shallow", "vpt-deep"])
def test_equal_to_the_textbook_loop(name, backbone, pixels):
    tuning = make(name, backbone, n_prompts=4)
    n_tokens = backbone.vision_tower.embeddings.num_positions

    def block(number, layer, hidden):
        if number < len(tuning.prompts):
            prompts = tuning.prompts[number].repeat(len(hidden), 1, 1)
            hidden = torch.cat([hidden[:, :n_tokens], prompts], dim=1)
        return layer(hidden, None)

    expected = textbook(backbone, pixels, block)
    torch.testing.assert_close(run(backbone, pixels, tuning), expected, atol=1e-6, rtol=0)


@pytest.mark.parametrize("partial", [None, 1])
def test_token_counts_and_fresh_prompts(backbone, pixels, partial):
    tuning = make("vpt-deep", backbone, partial=partial)
    n = backbone.vision_tower.embeddings.num_positions
    first, second, out = layer_inputs(backbone, pixels, tuning)
    assert [first.shape[1], second.shape[1], out.shape[1]] == [n if partial else n + 20, n + 20, n]
    assert torch.equal(second[:, n:], tuning.prompts[-1].expand(3, -1, -1))
    assert not torch.equal(tuning.prompts[0], tuning.prompts[-1]) or partial


def test_shallow_prompts_persist(backbone, pixels):
    tuning = make("vpt-shallow", backbone)
    n = backbone.vision_tower.embeddings.num_positions
    first, second, out = layer_inputs(backbone, pixels, tuning)
    assert [first.shape[1], second.shape[1], out.shape[1]] == [n + 20, n + 20, n]
    assert torch.equal(first[:, n:], tuning.prompts[0].expand(3, -1, -1))
    assert not torch.equal(second[:, n:], first[:, n:])


def test_class_token_and_patches_keep_their_rows(backbone, pixels):
    tower = backbone.vision_tower
    with torch.no_grad():
        hidden = tower.embeddings(pixels)
        hidden = tower.pre_layrnorm(hidden) if hasattr(tower, "pre_layrnorm") else hidden
    first = layer_inputs(backbone, pixels, make("vpt-deep", backbone))[0]
    assert torch.equal(first[:, : hidden.shape[1]], hidden)


@pytest.mark.parametrize(
    ("name", "params", "n_tensors"),
    [("vpt-shallow", {}, 1), ("vpt-deep", {}, 2), ("vpt-deep", {"partial": 1}, 1)],
)
def test_size_and_range_of_the_start(backbone, name, params, n_tensors):
    tuning = make(name, backbone, **params)
    assert tuning.prompts.shape == (n_tensors, 20, 32)
    assert tuning.n_parameters == n_tensors * 20 * 32
    bound = math.sqrt(6 / (3 * 8 * 8 + 32))
    assert 0.95 * bound < tuning.prompts.abs().max() <= bound
    assert tuning.prompts.mean().abs() < 0.02


def test_published_numbers():
    # ViT-B/16: 12 blocks of width 768, 20 prompts, patches of 16 x 16
    assert 12 * 20 * 768 == 184_320
    assert math.sqrt(6 / (3 * 16 * 16 + 768)) == pytest.approx(0.0625)
