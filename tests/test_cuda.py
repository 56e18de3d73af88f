"""The same on a CUDA device as on the CPU: features, prompts, detectors, tuners, files.

Everything is drawn on the CPU, so both devices start from the same numbers and differ by rounding
only. Convolutions run in float32 proper here; by torch's default they do not on CUDA.
"""

from __future__ import annotations

import numpy as np
import pytest
import torch

from image_models import build_image_model
from labelsieve.analysis.coop import coop
from labelsieve.analysis.gradient_study import watch
from labelsieve.backbones import extract_features, load_backbone
from labelsieve.backbones.image_models import load_encoder
from labelsieve.backbones.pixels import TrainingPixels
from labelsieve.backbones.views import augmented_features
from labelsieve.data import load_images
from labelsieve.detectors import DETECTORS
from labelsieve.detectors.dual_prompts import DualPrompts
from labelsieve.prompts import PromptLearner, encode_prompts, encode_together, text_encoder
from labelsieve.tuners import TUNERS, load_tuner
from labelsieve.tuners import training as loop
from labelsieve.tuners.inputs import fit_data
from labelsieve.visual_tuning import VISUAL_TUNINGS, make_visual_tuning
from problems import clustered_features, write_colour_tree
from tiny_siglip import build_tiny_siglip

THERE = "cuda"
NAMES = ("cat", "sports car", "sea lion in a dark photo", "frog")
LAYOUTS = (
    {"n_context": 4},
    {"n_context": 4, "position": "middle"},
    {"n_context": 4, "position": "front"},
    {"n_context": 4, "class_specific": True},
    {"n_context": 4, "class_tokens": "tuned"},
)
pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    pytest.mark.filterwarnings("ignore:Attempting to run cuBLAS"),
]


@pytest.fixture(autouse=True)
def exact_convolutions(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)


@pytest.fixture(scope="module")
def siglip_dir(tmp_path_factory):
    return build_tiny_siglip(tmp_path_factory.mktemp("models") / "tiny-siglip")


@pytest.fixture(scope="module", params=["clip", "siglip", "mini-glyph"])
def model(request, tiny_clip_dir, siglip_dir):
    """Where a model is, of each family, and the one inside the package."""
    return {"clip": tiny_clip_dir, "siglip": siglip_dir}.get(request.param, request.param)


@pytest.fixture(scope="module")
def pair(tiny_backbone, tiny_clip_dir):
    """The tiny CLIP on the CPU and on the other device."""
    return tiny_backbone, load_backbone(tiny_clip_dir, device=THERE, dtype="float32")


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return load_images(write_colour_tree(tmp_path_factory.mktemp("data") / "photos", per_class=8))


def close(found, wanted, atol):
    np.testing.assert_allclose(np.asarray(found), np.asarray(wanted), atol=atol, rtol=0)


def same_judgement(found, wanted, atol=2e-3):
    """Scores are close, and flags differ at most where the score is next to the other side's."""
    close(found.label_score_, wanted.label_score_, atol)
    close(found.probabilities_, wanted.probabilities_, atol)
    flagged, score = wanted.is_label_issue_, wanted.label_score_
    for row in np.flatnonzero(found.is_label_issue_ != flagged):
        others = score[flagged != flagged[row]]
        assert np.abs(others - score[row]).min(initial=np.inf) < atol, row


def interrupted(fit, monkeypatch):
    """Run a fit that stops after two epochs."""
    original = loop._Run.epoch

    def stopping(run, epoch, *rest):
        if epoch == 2:
            raise KeyboardInterrupt
        return original(run, epoch, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(loop._Run, "epoch", stopping)
        with pytest.raises(KeyboardInterrupt):
            fit()


def test_image_features_in_float32(model, images):
    here, there = (load_backbone(model, device=d, dtype="float32") for d in ("cpu", THERE))
    assert there.device.type == THERE
    wanted, found = (extract_features(images, b, show=False).features for b in (here, there))
    close(found, wanted, 2e-5)
    wanted, found = (augmented_features(images, b, 2, 0, show=False) for b in (here, there))
    close(found, wanted, 2e-5)


@pytest.mark.parametrize("dtype", ["auto", "float16"])
def test_image_features_in_half_precision(dtype, model, images):
    here = load_backbone(model, device="cpu", dtype="float32")
    there = load_backbone(model, device=THERE, dtype=dtype)
    assert there.dtype != torch.float32
    wanted, found = (extract_features(images, b, show=False).features for b in (here, there))
    assert found.dtype == np.float32
    assert (found * wanted).sum(axis=1).min() > 0.999


def test_training_pixels(pair, images):
    halves = [TrainingPixels(images, b.preprocessing, device=b.device) for b in pair]
    for pixels in halves:
        pixels.begin_epoch(torch.Generator().manual_seed(0))
    wanted, found = (pixels(torch.arange(9)) for pixels in halves)
    assert found.device.type == THERE
    close(found.cpu(), wanted, 1e-6)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: "-".join(map(str, layout.values())))
@pytest.mark.parametrize("kept", [text_encoder.KEPT_BYTES, 1], ids=["kept", "computed again"])
def test_prompts_and_their_gradient(layout, kept, pair, monkeypatch):
    monkeypatch.setattr(text_encoder, "KEPT_BYTES", kept)
    results = []
    for backbone in pair:
        learner = PromptLearner(backbone, NAMES, **layout)
        text = encode_prompts(backbone, learner, class_chunk=2)
        cotangent = torch.randn(text.shape, generator=torch.Generator().manual_seed(3))
        gradient = torch.autograd.grad((text * cotangent.to(text.device)).sum(), learner.context)[0]
        plain = encode_prompts(backbone, learner, method="plain")
        results.append([x.detach().cpu() for x in (text, plain, gradient / gradient.abs().max())])
    for found, wanted, atol in zip(results[1], results[0], (1e-5, 1e-5, 1e-4), strict=True):
        torch.testing.assert_close(found, wanted, atol=atol, rtol=0)
    torch.testing.assert_close(results[1][0], results[1][1], atol=1e-5, rtol=0)


def test_prompts_in_bfloat16_and_together(pair):
    here, there = pair
    gradients = []
    for backbone, half in ((here, False), (there, True)):
        learners = [PromptLearner(backbone, NAMES, initial_text=t) for t in ("a photo of a", None)]
        with torch.autocast(backbone.device.type, torch.bfloat16, enabled=half):
            texts = encode_together(backbone, learners)
        cotangent = torch.randn(4, backbone.embed_dim, generator=torch.Generator().manual_seed(3))
        loss = sum((text * cotangent.to(text.device)).sum() for text in texts)
        found = torch.autograd.grad(loss, [one.context for one in learners])
        gradients.append([x.detach().cpu() for x in (*texts, *found)])
    for found, wanted in zip(gradients[1], gradients[0], strict=True):
        found, wanted = found.flatten(-1), wanted.flatten(-1)
        cosine = torch.cosine_similarity(found.flatten(), wanted.flatten(), dim=0)
        assert cosine > 0.99


@pytest.mark.parametrize("name", DETECTORS.names())
def test_detectors(name, pair):
    x, given, _ = clustered_features(160, width=pair[0].embed_dim)
    more, labels, _ = clustered_features(40, width=pair[0].embed_dim, seed=1)
    params = {"epochs": 3} if name in ("small-loss", "dual-prompts") else {}
    wanted, found = (
        DETECTORS.get(name)(b, class_names=NAMES, **params).fit(x, given) for b in pair
    )
    same_judgement(found, wanted)
    if wanted.scorer_ is not None:
        judged = [one.score_features(more, labels).label_score for one in (found, wanted)]
        close(*judged, 2e-3)


@pytest.mark.parametrize("params", [{"mask": "last-epoch"}, {"agreement": True}], ids=str)
def test_dual_prompts_by_other_rules(params, pair):
    x, given, _ = clustered_features(160, width=pair[0].embed_dim)
    wanted, found = (
        DualPrompts(b, class_names=NAMES, epochs=3, **params).fit(x, given) for b in pair
    )
    same_judgement(found, wanted)


@pytest.mark.parametrize("name", VISUAL_TUNINGS.names())
def test_dual_prompts_with_visual_tuning(name, pair, images, tmp_path):
    wanted, found = (
        DualPrompts(b, visual_tuning=name, epochs=1, batch_size=8).fit(images) for b in pair
    )
    same_judgement(found, wanted)
    folder = found.classifier_.save(tmp_path / "model")
    loaded = load_tuner(folder, device="cpu").predict_proba(images)
    close(loaded, found.classifier_.predict_proba(images), 1e-3)


@pytest.mark.parametrize("name", ["lora", "ssf", "bias", "full"])
def test_merged_weights(name, pair):
    there = pair[1]
    pixels = torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(5))
    tuning = make_visual_tuning(name, there, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in tuning.parameters():
            parameter.add_(0.01)
        with tuning.attached(there):
            attached = there.encode_images(pixels)
        with tuning.merged(there):
            merged = there.encode_images(pixels)
        assert (attached - there.encode_images(pixels)).abs().max() > 1e-4
    torch.testing.assert_close(merged, attached, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["none", "vpt-deep", "lora", "full"])
def test_dual_prompts_in_the_precision_that_a_gpu_gets(name, tiny_clip_dir, images):
    there = load_backbone(tiny_clip_dir, device=THERE)
    detector = DualPrompts(there, visual_tuning=name, epochs=2, batch_size=8, precision="bfloat16")
    detector.fit(images)
    assert np.isfinite(detector.label_score_).all()
    assert np.isfinite(detector.classifier_.predict_proba(images)).all()


TUNED = {
    **{name: {"epochs": 3, "batch_size": 8} for name in TUNERS.names() if name != "zero-shot"},
    "zero-shot": {},
    "fft": {"epochs": 3, "batch_size": 8, "precision": "float32"},
    "vpt": {"epochs": 3, "batch_size": 8, "precision": "float32"},
}
OPTIONS = {
    "coop": {"class_tokens": "tuned", "n_views": 2, "epochs": 2},
    "nlprompt": {"curriculum_epochs": 3, "begin_budget": 0.5, "epochs": 3},
    "tip-adapter": {"fine_tune": True, "epochs": 3},
    "tenc-ft": {"partial": 1, "keep_weights": True, "epochs": 3},
    "robust-upl": {"selection": "confident", "shots": 4, "epochs": 2, "n_members": 2},
}
CASES = [*TUNED.items(), *OPTIONS.items()]


@pytest.mark.parametrize(("name", "params"), CASES, ids=lambda value: str(value)[:20])
def test_tuners(name, params, pair, images, tmp_path):
    wanted, found = (TUNERS.get(name)(b, **params).fit(images) for b in pair)
    probabilities = found.predict_proba(images)
    close(probabilities, wanted.predict_proba(images), 5e-3)
    for one, other in zip(found.history_, wanted.history_, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=0.02, abs=5e-3)
    folder = found.save(tmp_path / "model")
    close(load_tuner(folder, device="cpu").predict_proba(images), probabilities, 1e-3)
    close(load_tuner(folder, backbone=pair[1]).predict_proba(images), probabilities, 1e-4)


def test_robust_upl_with_another_model(pair, images):
    other = load_backbone("mini-glyph", device=THERE, dtype="float32")
    params = {"extra_backbones": ["mini-glyph"], "epochs": 1, "n_members": 1}
    tuner = TUNERS.get("robust-upl")(pair[1], **params).fit(images)
    assert np.isfinite(tuner.predict_proba(images)).all()
    assert other.device == pair[1].device


@pytest.mark.parametrize("name", ["coop", "nlprompt", "joapr", "robust-upl"])
def test_prompt_tuners_in_bfloat16(name, pair, images):
    tuner = TUNERS.get(name)(pair[1], epochs=3, precision="bfloat16").fit(images)
    assert np.isfinite(tuner.predict_proba(images)).all()


@pytest.mark.parametrize("baseline", ["elr", "gmm", "small-loss", "sce"])
def test_fine_tuning_baselines(baseline, pair, images):
    params = {"epochs": 3, "batch_size": 8, "precision": "float32", "lr": 1e-3, "noise_rate": 0.25}
    wanted, found = (TUNERS.get("fft")(b, baseline=baseline, **params).fit(images) for b in pair)
    close(found.predict_proba(images), wanted.predict_proba(images), 5e-3)


@pytest.mark.parametrize("precision", ["float32", "bfloat16", "float16"])
@pytest.mark.parametrize("dtype", ["float32", "auto"])
def test_fine_tuning_in_every_precision(precision, dtype, tiny_clip_dir, images):
    there = load_backbone(tiny_clip_dir, device=THERE, dtype=dtype)
    params = {"epochs": 8, "batch_size": 8, "lr": 0.01, "augment": False}
    tuner = TUNERS.get("fft")(there, precision=precision, **params).fit(images)
    losses = [record["loss"] for record in tuner.history_]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    assert np.isfinite(tuner.predict_proba(images)).all()


@pytest.mark.parametrize("family", ["vit", "resnet"])
def test_image_models(family, images, tmp_path):
    path = build_image_model(tmp_path / "hub", family)
    params = {"epochs": 2, "batch_size": 8, "precision": "float32", "lr": 1e-3}
    wanted, found = (
        TUNERS.get("fft")(load_encoder(path, device=d), **params).fit(images)
        for d in ("cpu", THERE)
    )
    probabilities = found.predict_proba(images)
    close(probabilities, wanted.predict_proba(images), 1e-2)
    loaded = load_tuner(found.save(tmp_path / "model"), device="cpu")
    close(loaded.predict_proba(images), probabilities, 1e-3)


RESUMED = {
    "coop": {},
    "vlpt": {"batch_size": 8},
    "tip-adapter": {"fine_tune": True},
    "fft": {"baseline": "elr", "precision": "float32", "batch_size": 8},
    "joapr": {},
}


@pytest.mark.parametrize("name", RESUMED)
def test_an_interrupted_fit_resumes(name, pair, images, tmp_path, monkeypatch):
    def tuner():
        return TUNERS.get(name)(pair[1], epochs=4, **RESUMED[name])

    whole = tuner().fit(images)
    interrupted(lambda: tuner().fit(images, checkpoint=tmp_path), monkeypatch)
    resumed = tuner().fit(images, checkpoint=tmp_path)
    assert len(resumed.history_) == 4
    assert resumed.history_[:2] != whole.history_[:2]  # it is the interrupted run's: other seconds
    close(resumed.predict_proba(images), whole.predict_proba(images), 1e-3)


def test_an_interrupted_detector_resumes(pair, images, tmp_path, monkeypatch):
    def detector():
        return DualPrompts(pair[1], visual_tuning="lora", epochs=4, batch_size=8)

    whole = detector().fit(images)
    interrupted(lambda: detector().fit(images, checkpoint=tmp_path), monkeypatch)
    same_judgement(detector().fit(images, checkpoint=tmp_path), whole)


def test_gradients_of_single_samples(pair, images):
    given, wrong = images.given_labels, np.arange(len(images)) % 4 == 0
    measured = []
    for backbone in pair:
        tuner = coop("ce", "names", {"epochs": 1}, shots=None, seed=0)
        data = fit_data(images, given, backbone, images.class_names)
        measured.append(watch(tuner, data, wrong, backbone))
    (here, here_groups), (there, there_groups) = measured
    for name in ("loss_value", "gradient_norm", "cosine"):
        scale = here[name].abs().max()
        close(there[name] / scale, here[name] / scale, 2e-3)
    close(there_groups["share"], here_groups["share"], 5e-3)
