"""Prompt tuning in bfloat16: gradient and accuracy near those of float32."""

import numpy as np
import pytest
import torch
from torch.nn.functional import scaled_dot_product_attention

from labelsieve.backbones import ImageFeatures, load_backbone
from labelsieve.core.exceptions import InputError
from labelsieve.prompts import cosines
from labelsieve.tuners.coop import CoOp
from labelsieve.tuners.inputs import fit_data
from labelsieve.tuners.nlprompt import NLPrompt
from labelsieve.tuners.plan import TrainingPlan
from labelsieve.tuners.robust_upl import RobustUPL
from labelsieve.tuners.training import AbstractTrainable, quick_attention, train
from problems import clustered_features

NAMES = ("cat", "dog", "car", "truck")


@pytest.mark.parametrize("position", ["end", "middle"])
def test_gradients_of_the_loss_are_within_a_tenth(position, tiny_backbone):
    x, given, _ = clustered_features(80, width=tiny_backbone.embed_dim)
    data = fit_data(x, given, tiny_backbone, NAMES)
    tuner = CoOp(tiny_backbone, class_names=NAMES, loss="ce", position=position)
    _, module, _ = tuner.training(data, tiny_backbone)
    gradients, losses = [], []
    for half in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            loss = module.step(torch.arange(80), 0, torch.Generator())
        losses.append(loss.item())
        gradients.append(torch.autograd.grad(loss, module.learner.context)[0])
    assert (gradients[1] - gradients[0]).norm() < 0.1 * gradients[0].norm()
    assert gradients[1].dtype == torch.float32
    assert 0 < abs(losses[1] - losses[0]) < 0.02 * losses[0]  # not the same path


def attention_and_gradients(parts, weight, **options):
    output = scaled_dot_product_attention(*parts, **options)
    return [output, *torch.autograd.grad(output, parts, weight)]


@pytest.mark.parametrize("masked", [False, True])
def test_quick_attention_is_within_a_hundredth_of_float32(masked):
    parts = torch.randn(4, 2, 3, 33, 64, generator=torch.Generator().manual_seed(0)).bfloat16()
    *parts, weight = (part.requires_grad_() for part in parts)
    options = {"is_causal": masked}
    exact = attention_and_gradients([p.float() for p in parts], weight.float(), **options)
    fused = attention_and_gradients(parts, weight, **options)
    with quick_attention("cpu", torch.bfloat16):
        quick = attention_and_gradients(parts, weight, **options)
    for a, b, c in zip(exact, fused, quick, strict=True):
        assert c.dtype == torch.bfloat16
        assert 0 < (c - a).norm() < 0.01 * a.norm()
        assert not torch.equal(b, c)


class AttentionKernels(AbstractTrainable):
    """Notes in every step whether the fused kernel may be taken."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(1))
        self.fused = []

    def step(self, rows, epoch, generator):
        self.fused.append(torch.backends.cuda.flash_sdp_enabled())
        return self.weight.sum()


@pytest.mark.parametrize(("precision", "fused"), [("float32", True), ("bfloat16", False)])
def test_only_training_in_bfloat16_takes_plain_products(precision, fused):
    module = AttentionKernels()
    train(module, 4, TrainingPlan(epochs=2, batch_size=4, precision=precision))
    assert module.fused == [fused, fused]
    assert torch.backends.cuda.flash_sdp_enabled()
    assert not torch.backends.cuda.fp16_bf16_reduction_math_sdp_allowed()


def test_a_tower_in_bfloat16_trains_in_float16(tiny_clip_dir):
    backbone = load_backbone(tiny_clip_dir, device="cpu", dtype="bfloat16")
    pixels = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.float16):
        found = backbone.pooled_images(pixels)
    assert torch.equal(found, backbone.pooled_images(pixels))


def accuracies(kind, precision, backbone, seeds=3):
    """Mean accuracy over seeds on true labels, and the last context."""
    x, given, true = clustered_features(400, width=backbone.embed_dim)
    found = []
    for seed in range(seeds):
        options = {"shots": 16, "epochs": 10, "precision": precision, "random_state": seed}
        tuner = kind(backbone, class_names=NAMES, **options).fit(ImageFeatures(x, {}), given)
        found.append((tuner.predict_proba(x).argmax(axis=1) == true).mean())
    return np.mean(found), tuner.context_


@pytest.mark.parametrize(
    ("kind", "tolerance"),
    # NLPrompt decides which labels are clean, so a small change may move a whole row
    [(CoOp, 0.02), (RobustUPL, 0.02), (NLPrompt, 0.05)],
)
def test_accuracy_is_within_its_tolerance(kind, tolerance, tiny_backbone):
    exact, context = accuracies(kind, "float32", tiny_backbone)
    half, other = accuracies(kind, "bfloat16", tiny_backbone)
    assert abs(half - exact) <= tolerance
    assert not torch.equal(context, other)


def test_cosines_stay_in_float32_under_autocast():
    a, b = torch.randn(2, 5, 64, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        assert not torch.equal(cosines(a, b), a @ b.T)
        found = cosines(a, b)
    np.testing.assert_array_equal(found.numpy(), (a @ b.T).numpy())


def test_an_unknown_precision_is_refused(tiny_backbone):
    x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
    with pytest.raises(InputError, match="precision must be one of float32, bfloat16"):
        CoOp(tiny_backbone, class_names=NAMES, precision="half").fit(x, given)
