"""Fine-tuning of a vision-language model's tower: what is trained, on what, and the baselines."""

import numpy as np
import pytest
import torch

from labelsieve.backbones.pixels import TrainingPixels
from labelsieve.core.exceptions import InputError
from labelsieve.core.random import seeded
from labelsieve.data import load_images
from labelsieve.losses import make_loss
from labelsieve.tuners import TUNERS, load_tuner
from labelsieve.tuners import training as loop
from labelsieve.tuners.baseline import Baseline
from labelsieve.tuners.fine_tune import FineTune
from labelsieve.tuners.networks import TowerNetwork
from labelsieve.tuners.pixel_training import PixelTraining
from labelsieve.tuners.recipes import fine_tuning_plan
from labelsieve.visual_tuning import VISUAL_TUNINGS
from problems import write_colour_tree
from tiny_siglip import build_tiny_siglip

KINDS = ("ce", "sce", "elr", "gmm", "small-loss")


@pytest.fixture
def images(tmp_path):
    return load_images(write_colour_tree(tmp_path / "photos", per_class=8))


def fine_tune(backbone, images, **params):
    given = {"epochs": 2, "batch_size": 8, "noise_rate": 0.25} | params
    return FineTune(backbone, **given).fit(images)


def module_for(backbone, images, kind, **params):
    network = TowerNetwork(backbone, 3, generator=torch.Generator().manual_seed(0))
    pixels = TrainingPixels(images, network.preprocessing)
    return PixelTraining(network, pixels, images.given_labels, Baseline(kind, **params))


def same(a, b):
    return all(torch.equal(a._tensors()[key], b._tensors()[key]) for key in a._tensors())


def test_full_trains_the_blocks_and_the_head(tiny_backbone, images):
    network = TowerNetwork(tiny_backbone, 3, generator=torch.Generator())
    state = network.state_dict()
    trained = {name.removeprefix("tuning.copies.").replace("/", ".") for name in state}
    tower = tiny_backbone.vision_tower
    blocks = {name for name, _ in tower.named_parameters() if name.startswith("encoder.layers")}
    assert trained == blocks | {"head.weight", "head.bias"}
    assert all(parameter.requires_grad for parameter in network.parameters())
    tuned = fine_tune(tiny_backbone, images, lr=0.01)._tensors()
    start = network.state_dict()
    assert all(not torch.equal(tuned[name], start[name]) for name in start)


@pytest.mark.parametrize("name", VISUAL_TUNINGS.names())
def test_every_visual_tuning_learns_colours(name, tiny_backbone, images):
    tuner = fine_tune(tiny_backbone, images, visual_tuning=name, epochs=6, lr=0.01)
    assert (tuner.predict(images) == images.given_labels).mean() > 0.5
    assert tuner.history_[-1]["loss"] < tuner.history_[0]["loss"]


def test_siglip_is_trained_through_its_pooling(images, tmp_path):
    folder = build_tiny_siglip(tmp_path / "siglip")
    tuner = FineTune(str(folder), epochs=6, batch_size=8, lr=0.01).fit(images)
    p = tuner.predict_proba(images)
    assert (p.argmax(axis=1) == images.given_labels).mean() > 0.5
    loaded = load_tuner(tuner.save(tmp_path / "m"))
    np.testing.assert_array_equal(loaded.predict_proba(images), p)
    assert set(tuner._tensors()) == {name for name, _ in tuner.classifier_.named_parameters()}


@pytest.mark.parametrize("name", ["fft", "vlpt"])
def test_a_classifier_is_not_loaded_on_another_model(name, tiny_backbone, images, tmp_path):
    tuner = TUNERS.get(name)(tiny_backbone, epochs=1).fit(images)
    with pytest.raises(InputError, match="does not fit mini-glyph; pass the model it was made of"):
        load_tuner(tuner.save(tmp_path / "m"), backbone="mini-glyph")


def test_one_step_is_a_plain_step(tiny_backbone, images):
    """One batch without augmentation against autograd on the tower's own weights, and SGD."""
    tuner = fine_tune(tiny_backbone, images, epochs=1, batch_size=24, augment=False, lr=0.1)
    start = TowerNetwork(tiny_backbone, 3, generator=generator_of(0))
    pixels = TrainingPixels(images, tiny_backbone.preprocessing)(torch.arange(24))
    with start.active():
        losses = make_loss("ce")(start(pixels), torch.as_tensor(images.given_labels))
    losses.mean().backward()
    for name, parameter in start.named_parameters():
        expected = parameter - 0.1 * (parameter.grad + 5e-4 * parameter)
        torch.testing.assert_close(tuner._tensors()[name], expected, atol=1e-6, rtol=1e-5)


def generator_of(seed):
    from labelsieve.core.random import torch_generator

    return torch_generator(seed)


@pytest.mark.parametrize("kind", KINDS)
def test_baselines_learn_and_change_the_result(kind, tiny_backbone, images):
    tuner = fine_tune(tiny_backbone, images, baseline=kind, epochs=3, lr=0.01)
    assert np.isfinite([record["loss"] for record in tuner.history_]).all()
    plain = fine_tune(tiny_backbone, images, epochs=3, lr=0.01)
    assert same(tuner, plain) == (kind == "ce")


def test_the_mixture_selects_the_rows_of_an_epoch(tiny_backbone, images, caplog):
    module = module_for(tiny_backbone, images, "gmm", warmup_epochs=1)
    losses = np.array([0.1] * 14 + [0.9] * 10)
    module._all_losses = lambda: losses
    generator = torch.Generator()
    assert module.begin_epoch(0, generator) is None
    assert module.begin_epoch(1, generator).tolist() == list(range(14))
    losses[3] = np.nan  # an image that cannot be read is in neither component
    assert module.begin_epoch(1, generator).tolist() == [0, 1, 2, *range(4, 14)]
    losses[:] = np.nan
    assert len(module.begin_epoch(1, generator)) == 24
    assert "finds no clean label" in caplog.text


def test_small_loss_trains_on_the_smallest(tiny_backbone, images):
    module = module_for(tiny_backbone, images, "small-loss", warmup_epochs=0, noise_rate=0.4)
    rows = torch.arange(24)
    with module.network.active():
        module.begin_epoch(0, torch.Generator())
        value = module.step(rows, 0, torch.Generator())
        module.pixels.begin_epoch(torch.Generator())
        logits = module.network(module.pixels(rows))
    losses = make_loss("ce")(logits, module.labels).sort().values
    torch.testing.assert_close(value, losses[:14].mean())


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_selection_is_a_loss_of_zero_with_a_gradient(kind, tiny_backbone, images):
    module = module_for(tiny_backbone, images, kind, noise_rate=1.0, warmup_epochs=0)
    module.pixels.broken = dict.fromkeys(range(24), "broken")
    with module.network.active():
        value = module.step(torch.arange(5), 3, torch.Generator())
    assert value.item() == 0.0
    value.backward()
    assert all((p.grad == 0).all() for p in module.parameters())


@pytest.mark.parametrize("kind", KINDS)
def test_accumulating_equals_one_pass(kind, tiny_backbone, images):
    if kind == "small-loss":
        pytest.skip("selects within each forward pass")
    params = {"baseline": kind, "epochs": 3, "lr": 0.01, "batch_size": 10}
    whole = fine_tune(tiny_backbone, images, **params)
    parts = fine_tune(tiny_backbone, images, accumulate=4, **params)
    for name, value in whole._tensors().items():
        torch.testing.assert_close(parts._tensors()[name], value, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["elr", "gmm"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_interrupted_fit_resumes_to_the_same_bits(
    kind, optimizer, tiny_backbone, images, tmp_path, monkeypatch
):
    def tuner():
        params = {"epochs": 4, "batch_size": 8, "lr": 1e-3, "optimizer": optimizer}
        return FineTune(tiny_backbone, baseline=kind, **params)

    whole = tuner().fit(images)
    original = loop._Run.epoch

    def stopping(run, epoch, *rest):
        if epoch == 2:
            raise KeyboardInterrupt
        return original(run, epoch, *rest)

    monkeypatch.setattr(loop._Run, "epoch", stopping)
    with pytest.raises(KeyboardInterrupt):
        tuner().fit(images, checkpoint=tmp_path / "state")
    monkeypatch.setattr(loop._Run, "epoch", original)
    resumed = tuner().fit(images, checkpoint=tmp_path / "state")
    assert same(resumed, whole)
    assert [r["loss"] for r in resumed.history_] == [r["loss"] for r in whole.history_]


def test_a_checkpoint_of_other_classes_is_not_resumed(
    tiny_backbone, images, tmp_path, monkeypatch, caplog
):
    original = loop._Run.epoch

    def stopping(run, epoch, *rest):
        if epoch == 1:
            raise KeyboardInterrupt
        return original(run, epoch, *rest)

    monkeypatch.setattr(loop._Run, "epoch", stopping)
    with pytest.raises(KeyboardInterrupt):
        FineTune(tiny_backbone, epochs=2).fit(images, checkpoint=tmp_path / "state")
    monkeypatch.setattr(loop._Run, "epoch", original)
    more = images.with_labels(images.given_labels, (*images.class_names, "yellow"))
    tuner = FineTune(tiny_backbone, epochs=2).fit(more, checkpoint=tmp_path / "state")
    assert "it is of another run" in caplog.text
    assert same(tuner, FineTune(tiny_backbone, epochs=2).fit(more))


def test_unreadable_images_do_not_count(tiny_backbone, tmp_path, caplog):
    root = write_colour_tree(tmp_path / "photos", per_class=8)
    bad = sorted((root / "red").glob("*.png"))[3]
    bad.write_bytes(b"broken")
    images = load_images(root)
    row = images.ids.tolist().index(f"red/{bad.name}")
    tuner = fine_tune(tiny_backbone, images)
    assert "cannot read red/" in caplog.text
    labels = images.given_labels.copy()
    labels[row] = (labels[row] + 1) % 3
    assert same(fine_tune(tiny_backbone, images.with_labels(labels)), tuner)
    for path in root.rglob("*.png"):
        path.write_bytes(b"broken")
    with pytest.raises(InputError, match="none of the 24 images can be read"):
        fine_tune(tiny_backbone, images)


def test_images_too_many_for_the_memory_are_decoded_when_needed(
    tiny_backbone, tmp_path, monkeypatch
):
    root = write_colour_tree(tmp_path / "photos", per_class=8)
    sorted((root / "green").glob("*.png"))[1].write_bytes(b"broken")
    images = load_images(root)
    kept = fine_tune(tiny_backbone, images, baseline="gmm", epochs=3)
    monkeypatch.setattr("labelsieve.tuners.fine_tune.MAX_BYTES", 0)
    assert same(fine_tune(tiny_backbone, images, baseline="gmm", epochs=3), kept)


def test_bad_input_says_what_to_do(tiny_backbone, images):
    def fails(match, **params):
        with pytest.raises(InputError, match=match):
            fine_tune(tiny_backbone, params.pop("images", images), **params)

    fails("baseline='cee' is not known; choose one of elr, gmm, small-loss, ce", baseline="cee")
    fails("needs noise_rate", baseline="small-loss", noise_rate=None)
    fails("noise_rate must be a number in 0..1, not 40", baseline="small-loss", noise_rate=40)
    fails("unknown precision 'fp8'", precision="fp8")
    fails("give lr together with optimizer='adamw'", optimizer="adamw")
    fails("epochs must be an integer", epochs=-1)
    fails("unknown visual tuning", visual_tuning="vtp")
    fails("at least two classes.*blue", images=images.with_labels(np.zeros(24, dtype=int)))
    with pytest.raises(InputError, match="looks at pixels; pass images"):
        FineTune(tiny_backbone).fit(np.ones((4, 24)), np.zeros(4, dtype=int))
    with pytest.raises(InputError, match="expected integer class indices, but got dtype <U3"):
        FineTune(tiny_backbone).fit(images, ["red"] * 24)
    with pytest.raises(InputError, match=r"expected shape \(24,\), one label a row"):
        FineTune(tiny_backbone).fit(images, [0, 1])


def test_recipes_are_the_published_ones():
    plans = {name: fine_tuning_plan(name, given={}) for name in ("clip", "vit", "vit_mae", "swin")}
    assert [(p.optimizer, p.lr, p.weight_decay) for p in plans.values()] == [
        ("sgd", 5e-4, 5e-4), ("sgd", 1e-2, 1e-5), ("adamw", 1e-4, 1e-3), ("adamw", 1e-4, 1e-4),
    ]  # fmt: skip
    assert (plans["clip"].momentum, plans["vit"].momentum) == (0.9, 0.0)
    assert fine_tuning_plan("clip", visual_tuning="lora", given={}).lr == 0.03
    assert fine_tuning_plan("resnet", given={"lr": 0.1, "momentum": None}).lr == 0.1
    assert plans["clip"].learning_rate(0) == 5e-4


def test_paradigms_are_settings(tiny_backbone):
    assert TUNERS.get("vpt")().visual_tuning == "vpt-deep"
    assert isinstance(TUNERS.get("vpt")(), FineTune)
    vlpt = TUNERS.get("vlpt")(epochs=3)  # what is given wins
    assert (vlpt.visual_tuning, vlpt.loss, vlpt.epochs) == ("vpt-deep", "ce", 3)


def test_the_paradigms_differ_in_the_head_only(tiny_backbone, images):
    vpt, vlpt = (TUNERS.get(name)(tiny_backbone).fit(images) for name in ("vpt", "vlpt"))
    rates = [[record["lr"] for record in tuner.history_] for tuner in (vpt, vlpt)]
    assert rates[0] == rates[1]
    assert (len(rates[0]), rates[0][0]) == (10, 0.03)
    assert vpt.batch_size == vlpt.batch_size == 64
    assert vpt.baseline == vlpt.loss == "ce"


def test_dropout_is_seeded_and_the_global_state_untouched():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    draws = []
    for offset in (0, 0, 1):
        with seeded(torch.Generator().manual_seed(1), torch.device("cpu"), offset):
            draws.append(torch.rand(3))
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert torch.equal(torch.rand(2), expected)
