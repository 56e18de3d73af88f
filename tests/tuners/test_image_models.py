"""Fine-tuning of every family of image classification models that transformers loads."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from image_models import FAMILIES, build_image_model
from labelsieve.backbones.image_models import load_encoder
from labelsieve.core.exceptions import InputError, ModelUnavailableError
from labelsieve.data import load_images
from labelsieve.tuners import load_tuner
from labelsieve.tuners import training as loop
from labelsieve.tuners.fine_tune import FineTune
from problems import write_colour_tree


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return load_images(write_colour_tree(tmp_path_factory.mktemp("images"), per_class=8))


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("image-models")
    return {family: build_image_model(root / family, family) for family in FAMILIES}


def fine_tune(folder, images, **params):
    given = {"epochs": 8, "batch_size": 8, "optimizer": "adamw", "lr": 3e-3} | params
    return FineTune(str(folder), **given).fit(images)


def state(tuner):
    return tuner.classifier_.state_dict()


def same(a, b):
    return all(torch.equal(state(a)[key], state(b)[key]) for key in state(a))


@pytest.mark.parametrize("family", FAMILIES)
class TestEveryFamily:
    def test_learns_saves_and_loads(self, family, folders, images, tmp_path):
        tuner = fine_tune(folders[family], images)
        p = tuner.predict_proba(images)
        assert (p.argmax(axis=1) == images.given_labels).mean() > 0.5
        out = tuner.save(tmp_path / "model")
        assert {path.name for path in out.iterdir()} == {"config.json", "README.md", "network"}
        moved = folders[family].rename(folders[family].with_name("away"))
        try:  # the model that it started from is not needed any more
            loaded = load_tuner(out)
        finally:
            moved.rename(folders[family])
        np.testing.assert_array_equal(loaded.predict_proba(images), p)
        assert loaded.backbone_.model_id == family
        again = load_tuner(loaded.save(tmp_path / "again"))
        np.testing.assert_array_equal(again.predict_proba(images), p)
        config = json.loads((tmp_path / "again" / "config.json").read_text())
        assert config["model"]["origin"] == str(folders[family].resolve())

    def test_plain_transformers_loads_the_network(self, family, folders, images, tmp_path):
        from transformers import AutoImageProcessor, AutoModelForImageClassification

        tuner = fine_tune(folders[family], images, epochs=1)
        folder = tuner.save(tmp_path / "model") / "network"
        model = AutoModelForImageClassification.from_pretrained(folder).eval()
        processor = AutoImageProcessor.from_pretrained(folder, backend="pil")
        pixels = processor([images.image(i) for i in range(4)], return_tensors="pt")
        with torch.no_grad():
            p = model(**pixels).logits.softmax(dim=1)
        np.testing.assert_allclose(p, tuner.predict_proba(images)[:4], atol=1e-5)
        assert model.config.id2label == dict(enumerate(images.class_names))

    def test_starts_from_the_weights_of_the_files_with_a_new_head(self, family, folders):
        source = load_encoder(folders[family])
        torch.manual_seed(9)
        expected = torch.rand(1)
        torch.manual_seed(9)
        a, b = (source.build("rgb", torch.Generator().manual_seed(seed)) for seed in (0, 1))
        assert torch.equal(torch.rand(1), expected)
        stored = load_file(folders[family] / "model.safetensors")
        sums = sorted(round(float(v.double().sum()), 9) for v in stored.values())
        differ = 0
        for name, value in a.state_dict().items():
            if "classifier" in name:
                differ += not torch.equal(value, b.state_dict()[name])
                assert not any(value.shape == v.shape and torch.equal(value, v) for v in
                               stored.values() if value.any())  # fmt: skip
            else:
                assert torch.equal(value, b.state_dict()[name])
                assert round(float(value.double().sum()), 9) in sums, name
        assert differ == 1

    def test_an_interrupted_fit_resumes_to_the_same_bits(
        self, family, folders, images, tmp_path, monkeypatch
    ):
        whole = fine_tune(folders[family], images, epochs=3)
        original = loop._Run.epoch

        def stopping(run, epoch, *rest):
            if epoch == 1:
                raise KeyboardInterrupt
            return original(run, epoch, *rest)

        tuner = whole.__sklearn_clone__()
        monkeypatch.setattr(loop._Run, "epoch", stopping)
        with pytest.raises(KeyboardInterrupt):
            tuner.fit(images, checkpoint=tmp_path)
        monkeypatch.setattr(loop._Run, "epoch", original)
        resumed = tuner.fit(images, checkpoint=tmp_path)
        assert same(resumed, whole)


def test_batch_norms_learn_in_training_and_rest_otherwise(folders, images):
    tuner = fine_tune(folders["resnet"], images, epochs=1)
    before = {k: v.clone() for k, v in state(tuner).items()}
    assert any("running_mean" in name and value.abs().sum() > 0 for name, value in before.items())
    tuner.predict_proba(images)
    assert all(torch.equal(before[k], v) for k, v in state(tuner).items())
    alone = [tuner.predict_proba(images.subset([i]))[0] for i in range(3)]
    np.testing.assert_allclose(alone, tuner.predict_proba(images)[:3], atol=1e-5)


def test_a_last_batch_of_one_image_is_no_trouble_for_batch_norms(folders, images):
    tuner = fine_tune(folders["resnet"], images, epochs=2, batch_size=23)
    assert np.isfinite(tuner.predict_proba(images)).all()


def test_the_mixture_scores_without_touching_the_norms(folders, images):
    tuner = fine_tune(folders["resnet"], images, baseline="gmm", epochs=3)
    counts = {v.item() for k, v in state(tuner).items() if k.endswith("num_batches_tracked")}
    batches = sum(-(-record["rows"] // 8) for record in tuner.history_)
    assert counts == {batches}


@pytest.mark.parametrize("family", ["vit", "convnext"])
def test_accumulating_equals_one_pass(family, folders, images):
    params = {"epochs": 2, "batch_size": 10, "optimizer": "sgd", "lr": 1e-2}
    whole = fine_tune(folders[family], images, **params)
    parts = fine_tune(folders[family], images, accumulate=4, **params)
    for name, value in state(whole).items():
        torch.testing.assert_close(state(parts)[name], value, atol=1e-5, rtol=1e-5)


def test_parameters_without_influence_are_not_trained(folders, images):
    tuner = fine_tune(folders["dinov2"], images, epochs=1)
    frozen = [n for n, p in tuner.classifier_.named_parameters() if not p.requires_grad]
    assert frozen == ["model.dinov2.embeddings.mask_token"]


def test_bfloat16_keeps_the_parameters_in_float32(folders, images):
    tuner = fine_tune(folders["vit"], images, precision="bfloat16")
    assert {v.dtype for v in state(tuner).values()} == {torch.float32}
    assert (tuner.predict(images) == images.given_labels).mean() > 0.5


def test_bad_models_are_refused(folders, images, tmp_path):
    with pytest.raises(InputError, match=r"'lora' needs the vision tower of a vision-language"):
        fine_tune(folders["vit"], images, visual_tuning="lora")
    text = tmp_path / "text"
    text.mkdir()
    (text / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match=r"'bert', which is neither .*clip, siglip.* nor an image"):
        fine_tune(text, images)
    with pytest.raises(ModelUnavailableError, match="not available"):
        fine_tune("google/vit-nowhere", images)
    broken = build_image_model(tmp_path / "broken", "vit")
    (broken / "model.safetensors").write_bytes(b"")
    with pytest.raises(InputError, match="cannot be loaded"):
        fine_tune(broken, images)


def test_random_weights_in_the_place_of_an_encoder_are_refused(folders, images, tmp_path):
    from safetensors.torch import save_file

    folder = build_image_model(tmp_path / "odd", "vit_mae")
    stored = load_file(folder / "model.safetensors")
    few = {k: v for k, v in stored.items() if "vit.encoder" not in k}
    save_file(few, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(
        InputError, match=r"does not hold the weights of a ViTForImageClass.*\d+ of"
    ):
        fine_tune(folder, images)
