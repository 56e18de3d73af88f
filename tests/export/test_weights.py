"""Exported class weights give the classifier's probabilities, without labelsieve's model."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from image_models import build_image_model
from labelsieve.backbones import extract_features
from labelsieve.core.exceptions import InputError
from labelsieve.data import load_images
from labelsieve.export import export_folder
from labelsieve.prompts import TextClassifier
from labelsieve.tuners import TUNERS
from labelsieve.tuners.coop import CoOp
from labelsieve.tuners.fine_tune import FineTune
from labelsieve.tuners.tip_adapter import TipAdapter
from labelsieve.tuners.zero_shot import ZeroShot
from problems import write_colour_tree


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return load_images(write_colour_tree(tmp_path_factory.mktemp("photos"), per_class=4))


OTHER_HEADS = ("tip-adapter", "fft", "vpt", "vlpt")


@pytest.mark.parametrize("name", sorted(set(TUNERS.names()) - set(OTHER_HEADS)))
def test_text_weights_are_the_classifier(name, tiny_backbone, images, tmp_path):
    tuner = TUNERS.get(name)(tiny_backbone)
    if name != "zero-shot":
        tuner.set_params(epochs=2, lr=0.01)
    tuner.fit(images).save(tmp_path / "m")
    written = export_folder(tmp_path / "m", tmp_path / "w", format="weights")
    assert [path.name for path in written] == ["weights.safetensors", "weights.json"]
    record = json.loads(written[1].read_text())
    assert record["class_names"] == list(tuner.class_names_)
    assert record["visual_tuning"] is None
    found = load_file(written[0])
    features = torch.as_tensor(extract_features(images, tiny_backbone).features)
    logits = record["logit_scale"] * features @ found["weights"].T + record["logit_bias"]
    expected = tuner.predict_proba(images)
    np.testing.assert_allclose(logits.softmax(dim=1), expected, atol=1e-5)
    again = TextClassifier.from_tensors(found, record["class_names"])
    np.testing.assert_allclose(again.predict_proba(features), expected, atol=1e-5)


def test_a_visual_tuning_goes_along(tiny_backbone, images, tmp_path):
    CoOp(tiny_backbone, visual_tuning="vpt-deep", epochs=1).fit(images).save(tmp_path / "m")
    written = export_folder(tmp_path / "m", tmp_path / "w", format="weights")
    record, found = json.loads(written[1].read_text()), load_file(written[0])
    assert record["visual_tuning"]["name"] == "vpt-deep"
    assert record["visual_tuning"]["tensors"] == ["visual_tuning.prompts"]
    assert found["visual_tuning.prompts"].shape == (2, 20, 32)


def test_the_head_of_a_fine_tuned_tower(tiny_backbone, images, tmp_path):
    tuner = FineTune(tiny_backbone, visual_tuning="none", epochs=1).fit(images)
    tuner.save(tmp_path / "m")
    written = export_folder(tmp_path / "m", tmp_path / "w", format="weights")
    head = load_file(written[0])
    pixels = tiny_backbone.preprocess([images.image(i) for i in range(len(images))])
    pooled = tiny_backbone.pooled_images(pixels)
    p = (pooled @ head["weight"].T + head["bias"]).softmax(dim=1)
    np.testing.assert_allclose(p.detach(), tuner.predict_proba(images), atol=1e-5)


def test_an_image_model_is_a_folder_of_transformers(images, tmp_path):
    from transformers import AutoModelForImageClassification

    source = build_image_model(tmp_path / "vit", "vit")
    tuner = FineTune(str(source), epochs=1).fit(images)
    tuner.save(tmp_path / "m")
    written = export_folder(tmp_path / "m", tmp_path / "w", format="weights")
    assert {"config.json", "model.safetensors", "weights.json"} <= {path.name for path in written}
    model = AutoModelForImageClassification.from_pretrained(tmp_path / "w")
    assert list(model.config.id2label.values()) == list(images.class_names)
    pixels = tuner.classifier_.preprocess([images.image(0)])
    expected = tuner.predict_proba(images.subset(np.array([0])))
    found = model(pixel_values=pixels).logits.softmax(dim=1).detach()
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_folder_of_a_scan_will_do(tiny_backbone, images, tmp_path):
    ZeroShot(tiny_backbone).fit(images).save(tmp_path / "scan" / "model")
    assert len(export_folder(tmp_path / "scan", tmp_path / "w", format="weights")) == 2


def test_what_cannot_be_done_is_said(tiny_backbone, images, tmp_path):
    TipAdapter(tiny_backbone).fit(images).save(tmp_path / "tip")
    with pytest.raises(InputError, match=r"cache_keys.*--format onnx"):
        export_folder(tmp_path / "tip", tmp_path / "w", format="weights")
    with pytest.raises(InputError, match="holds no saved classifier"):
        export_folder(tmp_path, tmp_path / "w", format="weights")
    with pytest.raises(InputError, match=r"unknown export format 'onx'.*Did you mean 'onnx'"):
        export_folder(tmp_path / "tip", tmp_path / "w", format="onx")
    with pytest.raises(InputError, match="has no option opset"):
        export_folder(tmp_path / "tip", tmp_path / "w", format="weights", options={"opset": 1})
    with pytest.raises(InputError, match="add --force"):
        export_folder(tmp_path / "tip", tmp_path, format="weights")
    with pytest.raises(InputError, match="must not be the folder"):
        export_folder(tmp_path / "tip", tmp_path / "tip", format="weights", force=True)
    with pytest.raises(InputError, match="is not a folder"):
        export_folder(tmp_path / "nothing", tmp_path / "w", format="weights")
