"""LoRA through peft: the formula, its relatives, and what can go wrong."""

from __future__ import annotations

import math

import pytest
import torch
from helpers_visual import attention, make, run, shake, textbook

from labelsieve.core.exceptions import InputError

WIDTH = 32


@pytest.mark.parametrize(("alpha", "scale"), [(None, 1.0), (8.0, 2.0), (1.0, 0.25)])
def test_equal_to_the_formula(backbone, pixels, alpha, scale):
    tuning = shake(make("lora", backbone, r=4, alpha=alpha))
    weights = dict(tuning.named_parameters())

    def block(number, layer, hidden):
        normed = layer.layer_norm1(hidden)

        def after(name, y):
            start = f"layers.encoder/layers/{number}/self_attn/{name}"
            if f"{start}.lora_A.default.weight" not in weights:
                return y
            a, b = (weights[f"{start}.lora_{x}.default.weight"] for x in "AB")
            return y + scale * (normed @ a.T) @ b.T

        hidden = hidden + attention(layer, normed, after)
        return hidden + layer.mlp(layer.layer_norm2(hidden))

    expected = textbook(backbone, pixels, block)
    torch.testing.assert_close(run(backbone, pixels, tuning), expected, atol=2e-6, rtol=0)


def test_start(backbone):
    for name, value in make("lora", backbone).named_parameters():
        if "lora_B" in name:
            assert not value.any()
        else:  # uniform up to 1 / sqrt(W), the width being the inputs of A
            assert 0.9 / math.sqrt(WIDTH) < value.abs().max() <= 1 / math.sqrt(WIDTH)


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        ({"r": 4}, 2 * 2 * 2 * WIDTH * 4),
        ({"r": 4, "partial": 1}, 2 * 2 * WIDTH * 4),
        ({"r": 4, "target_modules": ("fc1",)}, 2 * (WIDTH + 64) * 4),
        ({"r": 4, "target_modules": "out_proj"}, 2 * 2 * WIDTH * 4),
        ({"r": 4, "method": "loha"}, 2 * 2 * 2 * 2 * WIDTH * 4),
        ({"method": "ia3"}, 2 * (2 * WIDTH + 64)),
    ],
)
def test_numbers_of_parameters(backbone, params, expected):
    assert make("lora", backbone, **params).n_parameters == expected


@pytest.mark.parametrize("method", ["lokr", "oft", "hra", "delora"])
def test_further_methods_of_peft(backbone, pixels, method):
    plain = run(backbone, pixels)
    tuning = make("lora", backbone, method=method, r=4)
    torch.testing.assert_close(run(backbone, pixels, tuning), plain, atol=3e-6, rtol=0)
    shake(tuning, 0.05)
    tuned = run(backbone, pixels, tuning)
    assert not torch.equal(tuned, plain)
    with tuning.merged(backbone):
        torch.testing.assert_close(run(backbone, pixels), tuned, atol=1e-5, rtol=0)
    assert torch.equal(run(backbone, pixels), plain)


def test_a_method_that_peft_cannot_merge(backbone, pixels):
    plain = run(backbone, pixels)
    tuning = shake(make("lora", backbone, method="lily"))
    with pytest.raises(InputError, match=r"peft cannot merge 'lily' .* keep it attached"):
        tuning.merged_weights(backbone)
    assert torch.equal(run(backbone, pixels), plain)


@pytest.mark.parametrize("method", ["lily", "randlora"])
def test_methods_whose_layers_share_tensors_are_saved(backbone, pixels, method, tmp_path):
    tuning = shake(make("lora", backbone, method=method))
    tuning.save(tmp_path / "tuning.safetensors")
    other = make("lora", backbone, 1, method=method).load(tmp_path / "tuning.safetensors")
    assert torch.equal(run(backbone, pixels, other), run(backbone, pixels, tuning))


def test_fields_of_the_configuration_reach_peft(backbone, pixels):
    plain = make("lora", backbone, r=4)
    ranked = make("lora", backbone, r=4, method_params={"use_rslora": True})
    for tuning in (plain, ranked):
        shake(tuning)
    assert not torch.equal(run(backbone, pixels, plain), run(backbone, pixels, ranked))


def test_dropout_follows_the_mode_of_the_tuning_not_of_the_tower(backbone, pixels):
    tuning = shake(make("lora", backbone, method_params={"lora_dropout": 0.5}))
    noisy = [run(backbone, pixels, tuning) for _ in range(2)]
    assert not torch.equal(*noisy)
    tuning.eval()
    assert torch.equal(run(backbone, pixels, tuning), run(backbone, pixels, tuning))
    assert not backbone.vision_tower.training
    tuning.train()
    assert not any(module.training for module in backbone.vision_tower.modules())


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"method": "lorax"}, r"unknown method 'lorax'.*peft offers .*ia3.*loha, lokr, lora"),
        ({"method": "prefix_tuning"}, "unknown method 'prefix_tuning'"),
        ({"method": "vera"}, "unknown method 'vera'"),
        ({"target_modules": ["q_proj", "qkv"]}, "has qkv; a block has the linear layers fc1, fc2"),
        ({"method_params": {"rank": 3}}, "'lora' has no rank; peft's LoraConfig takes .*use_dora"),
        ({"method_params": {"bias": "all"}}, "'lora' has no bias"),
        ({"method": "adalora"}, "peft refuses the settings of 'adalora'"),
        ({"method": "c3a"}, "peft cannot put 'c3a' into this vision tower"),
        ({"method_params": {"init_lora_weights": "pissa"}}, "change the weights of the vision tow"),
        ({"method_params": {"init_lora_weights": "olora"}}, "change the weights of the vision tow"),
        ({"r": 0}, "r must be an integer in 1..inf, not 0"),
    ],
)
def test_errors_leave_the_tower_alone(backbone, pixels, params, message):
    plain = run(backbone, pixels)
    modules = [type(module) for module in backbone.vision_tower.modules()]
    with pytest.raises(InputError, match=message):
        make("lora", backbone, **params)
    assert [type(module) for module in backbone.vision_tower.modules()] == modules
    assert torch.equal(run(backbone, pixels), plain)
    assert not hasattr(backbone.vision_tower.encoder, "peft_config")
