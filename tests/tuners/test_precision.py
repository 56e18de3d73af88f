"""Prompt tuning in bfloat16: gradient and accuracy near those of float32."""

import numpy as np
import pytest
import torch

from labelsieve.backbones import ImageFeatures, load_backbone
from labelsieve.core.exceptions import InputError
from labelsieve.prompts import cosines
from labelsieve.tuners.coop import CoOp
from labelsieve.tuners.inputs import fit_data
from labelsieve.tuners.nlprompt import NLPrompt
from labelsieve.tuners.robust_upl import RobustUPL
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
