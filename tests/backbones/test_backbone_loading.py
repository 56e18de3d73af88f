"""Where backbones come from, and what is said when they do not."""

from __future__ import annotations

import json
import shutil
import time

import huggingface_hub.constants
import pytest
import torch
from transformers.utils import logging

from labelsieve.backbones import load_backbone, loading
from labelsieve.core.exceptions import InputError, ModelUnavailableError
from labelsieve.prompts import zero_shot_classifier
from tiny_clip import build_tiny_clip


def test_a_backbone_passes_through(tiny_backbone):
    assert load_backbone(tiny_backbone) is tiny_backbone


def test_the_same_directory_gives_the_same_model(tiny_clip_dir, tiny_backbone):
    again = load_backbone(str(tiny_clip_dir), device="cpu")
    assert torch.equal(again.encode_texts(["cat"]), tiny_backbone.encode_texts(["cat"]))
    assert again.fingerprint == tiny_backbone.fingerprint
    assert again.model_id == "tiny-clip"


def test_fingerprint_follows_weights_preprocessing_and_precision(tmp_path, tiny_clip_dir):
    copy = shutil.copytree(tiny_clip_dir, tmp_path / "tiny-clip")
    prints = {load_backbone(copy, device="cpu", dtype="float32").fingerprint}
    assert prints == {load_backbone(tiny_clip_dir, device="cpu").fingerprint}
    prints.add(load_backbone(copy, device="cpu", dtype="bfloat16").fingerprint)
    settings = json.loads((copy / "preprocessor_config.json").read_text())
    (copy / "preprocessor_config.json").write_text(json.dumps({**settings, "resample": 2}))
    prints.add(load_backbone(copy, device="cpu").fingerprint)
    prints.add(load_backbone(build_tiny_clip(tmp_path / "b" / "tiny-clip", seed=1)).fingerprint)
    assert len(prints) == 4


def test_unavailable_model_says_so_quickly_with_ways_out(monkeypatch):
    def no_network():
        raise OSError("no network in tests")

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.utils.get_session", no_network)
    start = time.perf_counter()
    with pytest.raises(ModelUnavailableError) as caught:
        load_backbone("nobody/no-such-model", device="cpu")
    assert time.perf_counter() - start < 5
    message = str(caught.value)
    for part in ("nobody/no-such-model", "cannot be reached", "pass the directory", "mini-glyph"):
        assert part in message


def test_offline_is_named_as_the_reason():
    with pytest.raises(ModelUnavailableError, match="offline was asked for"):
        load_backbone("nobody/no-such-model", device="cpu", offline=True)


def test_a_wrong_path_is_no_hub_id_but_the_message_is_the_same():
    with pytest.raises(ModelUnavailableError, match="not a directory here"):
        load_backbone("/no/such/folder/at/all", device="cpu", offline=True)


def test_cached_hub_model_loads_without_network(tmp_path, tiny_clip_dir, monkeypatch):
    hub, commit = tmp_path / "hub", "0123456789abcdef0123456789abcdef01234567"
    repository = hub / "models--someone--tiny"
    shutil.copytree(tiny_clip_dir, repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    for module in ("huggingface_hub.constants", "huggingface_hub.file_download.constants"):
        monkeypatch.setattr(f"{module}.HF_HUB_CACHE", str(hub))
    backbone = load_backbone("someone/tiny", device="cpu")
    assert (backbone.model_id, backbone.commit) == ("someone/tiny", commit)
    assert backbone.fingerprint.startswith(f"someone/tiny@{commit} ")


def test_unsupported_family_lists_the_supported_ones(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match=r"model type 'bert'.*supported are clip, siglip"):
        load_backbone(tmp_path, device="cpu")


def test_directory_without_a_model(tmp_path):
    with pytest.raises(InputError, match=r"no config\.json"):
        load_backbone(tmp_path, device="cpu")


def test_directory_without_weights(tmp_path, tiny_clip_dir):
    shutil.copy(tiny_clip_dir / "config.json", tmp_path)
    with pytest.raises(InputError, match="cannot be loaded"):
        load_backbone(tmp_path, device="cpu")


def test_unknown_device_and_precision(tiny_clip_dir):
    with pytest.raises(InputError, match="unknown device 'tpu'"):
        load_backbone(tiny_clip_dir, device="tpu")
    with pytest.raises(InputError, match="unknown dtype 'float8'"):
        load_backbone(tiny_clip_dir, dtype="float8")


def test_loading_is_silent_and_leaves_settings_alone(tiny_clip_dir, capfd):
    before = logging.get_verbosity(), logging.is_progress_bar_enabled()
    load_backbone(tiny_clip_dir, device="cpu")
    assert capfd.readouterr() == ("", "")
    assert (logging.get_verbosity(), logging.is_progress_bar_enabled()) == before


def test_pil_backend_is_used(tiny_backbone):
    assert type(tiny_backbone.processor).__name__ == "CLIPImageProcessorPil"


def test_missing_packaged_model_is_explained(monkeypatch, tmp_path):
    monkeypatch.setattr(loading, "__file__", str(tmp_path / "a" / "b" / "loading.py"))
    with pytest.raises(ModelUnavailableError, match="mini-glyph is not part of this installation"):
        load_backbone("mini-glyph", device="cpu")


@pytest.mark.shared
@pytest.mark.slow
def test_a_trained_model_knows_its_classes(shared_dir):
    from io import BytesIO

    import pyarrow.parquet as pq
    from PIL import Image

    backbone = load_backbone(shared_dir / "models" / "mini-vlm-photo", device="cpu")
    table = pq.read_table(shared_dir / "data" / "cifar10_test.parquet").slice(0, 300)
    names = json.loads(table.schema.metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    images = [Image.open(BytesIO(cell["bytes"])) for cell in table["image"].to_pylist()]
    classifier = zero_shot_classifier(backbone, names)
    probabilities = classifier.predict_proba(backbone.encode_images(backbone.preprocess(images)))
    accuracy = (probabilities.argmax(1) == table["label"].to_numpy()).mean()
    assert accuracy > 0.5  # the model's own metrics say 0.62 on all test images
