"""Bias tuning and full tuning: which weights are copied, and that the copies are used."""

from __future__ import annotations

import pytest
import torch
from helpers_visual import make, run, shake

A_BLOCK = 4 * (32 * 32 + 32) + 2 * (32 * 64) + 64 + 32 + 2 * 2 * 32
BIASES_OF_A_BLOCK = 4 * 32 + 64 + 32 + 2 * 32


def names(tuning):
    return {name.removeprefix("copies.").replace("/", ".") for name in tuning.state_dict()}


@pytest.mark.parametrize("name", ["bias", "full"])
def test_equal_to_changing_the_weights_themselves(name, backbone, pixels):
    tuning = shake(make(name, backbone))
    tower = backbone.vision_tower
    plain = {k: v.clone() for k, v in tower.state_dict().items()}
    expected = run(backbone, pixels, tuning)
    changed = {
        k.removeprefix("copies.").replace("/", "."): v for k, v in tuning.state_dict().items()
    }
    tower.load_state_dict({**plain, **changed})
    by_hand = run(backbone, pixels)
    tower.load_state_dict(plain)
    assert torch.equal(expected, by_hand)


@pytest.mark.parametrize("name", ["bias", "full"])
def test_bit_identical_at_the_start(name, backbone, pixels):
    assert torch.equal(run(backbone, pixels, make(name, backbone)), run(backbone, pixels))


def test_all_biases(backbone):
    tower = backbone.vision_tower
    tuning = make("bias", backbone)
    assert names(tuning) == {n for n, _ in tower.named_parameters() if n.endswith("bias")}
    inside = sum(
        p.numel()
        for n, p in tuning.named_parameters()
        if n.startswith("copies.encoder/")  # around the blocks the families differ
    )
    assert inside == 2 * BIASES_OF_A_BLOCK


def test_full_is_the_blocks_and_nothing_around_them(backbone):
    tuning = make("full", backbone)
    layers = backbone.vision_tower.encoder.layers
    assert names(tuning) == {f"encoder.layers.{n}" for n, _ in layers.named_parameters()}
    assert tuning.n_parameters == 2 * A_BLOCK
    last = make("full", backbone, partial=1)
    assert last.n_parameters == A_BLOCK
    assert all(name.startswith("encoder.layers.1.") for name in names(last))


@pytest.mark.parametrize("name", ["bias", "full"])
def test_copies_are_apart_from_the_tower(name, backbone):
    own = {p.data_ptr() for p in make(name, backbone).parameters()}
    assert own.isdisjoint({p.data_ptr() for p in backbone.vision_tower.parameters()})
    tuning = make(name, backbone)
    merged = {t.data_ptr() for t in tuning.merged_weights(backbone).values()}
    assert merged.isdisjoint({p.data_ptr() for p in tuning.parameters()})
