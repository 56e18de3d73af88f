"""Adapter, AdaptFormer and SSF against forward passes written out."""

from __future__ import annotations

import math

import pytest
import torch
from helpers_visual import attention, make, run, shake, textbook
from torch.nn.functional import layer_norm

WIDTH, MLP = 32, 64


def relu_bottleneck(part, x):
    return (x @ part.down.T + part.down_bias).clamp(min=0) @ part.up.T + part.up_bias


@pytest.mark.parametrize("partial", [None, 1])
def test_adapter_equals_the_formula(backbone, pixels, partial):
    tuning = shake(make("adapter", backbone, bottleneck=5, partial=partial))

    def block(number, layer, hidden):
        hidden = hidden + attention(layer, layer.layer_norm1(hidden))
        x = layer.mlp(layer.layer_norm2(hidden))
        if partial == 1 and number == 0:
            return hidden + x
        part = tuning.layers[str(number)]
        normed = layer_norm(x, (WIDTH,), part.norm.weight, part.norm.bias)
        return hidden + x + relu_bottleneck(part.bottleneck, normed)

    expected = textbook(backbone, pixels, block)
    torch.testing.assert_close(run(backbone, pixels, tuning), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("partial", [None, 1])
def test_adaptformer_equals_the_formula(backbone, pixels, partial):
    tuning = shake(make("adaptformer", backbone, bottleneck=5, scale=0.3, partial=partial))

    def block(number, layer, hidden):
        hidden = hidden + attention(layer, layer.layer_norm1(hidden))
        normed = layer.layer_norm2(hidden)
        if partial == 1 and number == 0:
            return hidden + layer.mlp(normed)
        beside = relu_bottleneck(tuning.layers[str(number)], normed)
        return hidden + layer.mlp(normed) + 0.3 * beside

    expected = textbook(backbone, pixels, block)
    torch.testing.assert_close(run(backbone, pixels, tuning), expected, atol=2e-6, rtol=0)


@pytest.mark.parametrize("partial", [None, 1])
def test_ssf_equals_the_formula(backbone, pixels, partial):
    tuning = make("ssf", backbone, init_std=0.2, partial=partial)

    def block(number, layer, hidden):
        def after(name, y):
            if partial == 1 and number == 0:
                return y
            key = f"encoder/layers/{number}/{name}"
            return y * tuning.scale[key] + tuning.shift[key]

        normed = layer.layer_norm1(hidden)
        hidden = hidden + attention(layer, normed, lambda n, y: after(f"self_attn/{n}", y))
        inner = after("mlp/fc1", layer.mlp.fc1(layer.layer_norm2(hidden)))
        return hidden + after("mlp/fc2", layer.mlp.fc2(layer.mlp.activation_fn(inner)))

    expected = textbook(backbone, pixels, block)
    torch.testing.assert_close(run(backbone, pixels, tuning), expected, atol=5e-6, rtol=0)


def test_ssf_starts_a_little_off_or_equal(backbone, pixels):
    plain = run(backbone, pixels)
    assert torch.equal(run(backbone, pixels, make("ssf", backbone, init_std=0)), plain)
    change = (run(backbone, pixels, make("ssf", backbone)) - plain).norm() / plain.norm()
    assert 1e-3 < change < 0.2
    tuning = make("ssf", backbone)
    drawn = [torch.cat([p.flatten() for p in d.values()]) for d in (tuning.scale, tuning.shift)]
    for values, mean in zip(drawn, (1.0, 0.0), strict=True):
        assert values.mean().item() == pytest.approx(mean, abs=0.005)
        assert values.std().item() == pytest.approx(0.02, rel=0.15)
    assert not torch.equal(drawn[0] - 1, drawn[1])


def test_starts_of_the_bottlenecks(backbone):
    for part in make("adapter", backbone).layers.values():
        assert part.bottleneck.down.std().item() == pytest.approx(math.sqrt(2 / WIDTH), rel=0.1)
        assert not part.bottleneck.up.any()
    for part in make("adaptformer", backbone).layers.values():
        assert 0.95 / math.sqrt(WIDTH) < part.down.abs().max() <= 1 / math.sqrt(WIDTH)
        assert not any(p.any() for p in (part.up, part.up_bias, part.down_bias))


@pytest.mark.parametrize(
    ("name", "params", "a_block"),
    [
        ("adapter", {"bottleneck": 5}, 2 * WIDTH * 5 + 3 * WIDTH + 5),
        ("adaptformer", {"bottleneck": 5}, 2 * WIDTH * 5 + WIDTH + 5),
        ("ssf", {}, 2 * (5 * WIDTH + MLP)),
    ],
)
def test_numbers_of_parameters(backbone, name, params, a_block):
    assert make(name, backbone, **params).n_parameters == 2 * a_block
    assert make(name, backbone, partial=1, **params).n_parameters == a_block
