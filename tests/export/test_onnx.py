"""The exported graph, run by onnxruntime, against predict_proba."""

import json
import sys

import numpy as np
import pytest
import torch

from image_models import build_image_model
from labelsieve.backbones import load_backbone
from labelsieve.core.exceptions import LabelSieveError, MissingExtraError
from labelsieve.data import load_images
from labelsieve.export import export_folder
from labelsieve.export import onnx as onnx_format
from labelsieve.tuners import TUNERS
from labelsieve.tuners.fine_tune import FineTune
from labelsieve.tuners.zero_shot import ZeroShot
from problems import write_colour_tree

UNTRAINED = ("zero-shot", "tip-adapter")
CASES = {
    **{name: (name, {} if name in UNTRAINED else {"epochs": 1}) for name in TUNERS.names()},
    "coop with prompts in the image": ("coop", {"epochs": 1, "visual_tuning": "vpt-deep"}),
    "coop with lora": ("coop", {"epochs": 1, "visual_tuning": "lora"}),
    "coop with ssf": ("coop", {"epochs": 1, "visual_tuning": "ssf"}),
    "coop with adapters": ("coop", {"epochs": 1, "visual_tuning": "adapter"}),
    "fft of the head": ("fft", {"epochs": 1, "visual_tuning": "none"}),
}


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return load_images(write_colour_tree(tmp_path_factory.mktemp("photos"), per_class=3))


def assert_runs_alike(out, tuner, images, backbone):
    """Batches of 1 and of 3, preprocessed by the backbone."""
    onnxruntime = pytest.importorskip("onnxruntime")
    session = onnxruntime.InferenceSession(str(out / "model.onnx"))
    assert [x.name for x in session.get_outputs()] == ["logits", "probabilities"]
    expected = tuner.predict_proba(images)
    pixels = backbone.preprocess([images.image(i) for i in range(len(images))]).numpy()
    for rows in ([4], [0, 3, 8], list(range(9))):
        logits, p = session.run(None, {"pixel_values": pixels[rows]})
        np.testing.assert_allclose(p, expected[rows], atol=1e-4)
        np.testing.assert_allclose(torch.as_tensor(logits).softmax(dim=1), p, atol=1e-6)


FAST = ("coop with prompts in the image", "coop with lora", "fft")  # the rest with `slow`


def some_slow(names, fast):
    return [pytest.param(n, marks=[] if n in fast else pytest.mark.slow) for n in names]


@pytest.mark.parametrize("case", some_slow(CASES, FAST))
def test_clip(case, tiny_backbone, images, tmp_path):
    pytest.importorskip("onnxscript")
    name, params = CASES[case]
    tuner = TUNERS.get(name)(tiny_backbone, **params).fit(images)
    tuner.save(tmp_path / "m")
    before = {k: v.clone() for k, v in tiny_backbone.model.state_dict().items()}
    export_folder(tmp_path / "m", tmp_path / "o", format="onnx")
    assert_runs_alike(tmp_path / "o", tuner, images, tiny_backbone)
    assert {path.name for path in (tmp_path / "o").iterdir()} == {"model.onnx", "model.json"}
    assert all(torch.equal(before[k], v) for k, v in tiny_backbone.model.state_dict().items())


@pytest.mark.parametrize(
    "family", some_slow(["vit", "resnet", "convnext", "swin", "dinov2"], ["vit"])
)
def test_image_models(family, images, tmp_path):
    pytest.importorskip("onnxscript")
    source = build_image_model(tmp_path / family, family)
    tuner = FineTune(str(source), epochs=1).fit(images)
    tuner.save(tmp_path / "m")
    export_folder(tmp_path / "m", tmp_path / "o", format="onnx")
    assert_runs_alike(tmp_path / "o", tuner, images, tuner.classifier_)


def test_the_record_describes_the_preprocessing(tiny_backbone, images, tmp_path):
    """Followed by hand, with Pillow and numpy alone, it gives the same pixels."""
    onnx = pytest.importorskip("onnx")
    tuner = ZeroShot(tiny_backbone).fit(images)
    tuner.save(tmp_path / "m")
    export_folder(tmp_path / "m", tmp_path / "o", format="onnx")
    assert_runs_alike(tmp_path / "o", tuner, images, tiny_backbone)
    record = json.loads((tmp_path / "o" / "model.json").read_text())
    assert record["input"]["shape"] == ["batch", 3, 32, 32]
    steps = {step["step"]: step for step in record["preprocessing"]["steps"]}
    assert list(steps) == [
        "convert", "resize", "center_crop", "rescale", "normalize", "to_channels_first",
    ]  # fmt: skip
    side = steps["resize"]["size"]["shortest_edge"]
    assert steps["resize"]["interpolation"] == "bicubic"
    image = images.image(0).convert("RGB").resize((side, side), 3)  # square, so no crop
    pixels = np.asarray(image, dtype=np.float32) * steps["rescale"]["factor"]
    pixels = (pixels - steps["normalize"]["mean"]) / steps["normalize"]["std"]
    expected = tiny_backbone.preprocess([images.image(0)])[0]
    np.testing.assert_allclose(pixels.transpose(2, 0, 1), expected, atol=1e-5)
    model = onnx.load(tmp_path / "o" / "model.onnx")
    stored = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(stored["class_names"]) == list(images.class_names)


@pytest.mark.slow
def test_a_wrong_file_is_not_published(tiny_backbone, images, tmp_path, monkeypatch):
    pytest.importorskip("onnxscript")
    ZeroShot(tiny_backbone).fit(images).save(tmp_path / "m")
    monkeypatch.setattr(onnx_format, "TOLERANCE", -1.0)
    with pytest.raises(LabelSieveError, match="computes other probabilities"):
        export_folder(tmp_path / "m", tmp_path / "o", format="onnx")
    assert list((tmp_path / "o").iterdir()) == []


def test_the_missing_extra_is_named(tiny_backbone, images, tmp_path, monkeypatch):
    ZeroShot(tiny_backbone).fit(images).save(tmp_path / "m")
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'labelsieve\[onnx\]'"):
        export_folder(tmp_path / "m", tmp_path / "o", format="onnx")


@pytest.mark.slow
def test_mini_glyph(images, tmp_path):
    pytest.importorskip("onnxscript")
    backbone = load_backbone("mini-glyph", device="cpu")
    tuner = ZeroShot(backbone).fit(images)
    tuner.save(tmp_path / "m")
    export_folder(tmp_path / "m", tmp_path / "o", format="onnx")
    assert_runs_alike(tmp_path / "o", tuner, images, backbone)
