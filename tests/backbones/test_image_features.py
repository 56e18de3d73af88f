"""Streaming extraction: values, order, broken files, the cache."""

from __future__ import annotations

import io
import logging
import threading

import numpy as np
import pytest
import torch

from labelsieve.backbones import FeatureCache, augmented_features, extract_features
from labelsieve.backbones.cache import SHARD_ROWS
from labelsieve.backbones.features import _Extraction
from labelsieve.backbones.views import random_box
from labelsieve.core.exceptions import InputError
from labelsieve.data.decode import decode


class FakeImages:
    """What extraction needs of `LabeledImages`: a length and the bytes of a row."""

    def __init__(self, files):
        self.files = files

    def __len__(self):
        return len(self.files)

    def read_bytes(self, row):
        if isinstance(self.files[row], Exception):
            raise self.files[row]
        return self.files[row]


def png(seed, size=(36, 44)):
    from PIL import Image

    draw = np.random.default_rng(seed)
    buffer = io.BytesIO()
    Image.fromarray(draw.integers(0, 256, (*size, 3), dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


class Counting:
    """A backbone that counts the images it encodes; everything else is the real one's."""

    def __init__(self, backbone, fail_after=None):
        self.backbone, self.encoded, self.fail_after = backbone, 0, fail_after

    def __getattr__(self, name):
        return getattr(self.backbone, name)

    def encode_images(self, pixels):
        if self.fail_after is not None and self.encoded >= self.fail_after:
            raise KeyboardInterrupt
        self.encoded += len(pixels)
        return self.backbone.encode_images(pixels)


@pytest.fixture(scope="module")
def images():
    return FakeImages([png(seed) for seed in range(11)])


@pytest.mark.parametrize("workers", [0, 3])
def test_equals_encoding_one_by_one(tiny_backbone, images, workers):
    result = extract_features(images, tiny_backbone, batch_size=4, workers=workers)
    for row, data in enumerate(images.files):
        expected = tiny_backbone.encode_images(tiny_backbone.preprocess([decode(data)]))[0]
        np.testing.assert_allclose(result.features[row], expected, atol=2e-6)
    assert result.features.dtype == np.float32
    assert result.errors == {}
    assert result.ok.all()


def test_threads_change_no_bit(tiny_backbone, images):
    first, *others = (
        extract_features(images, tiny_backbone, batch_size=4, workers=workers).features
        for workers in (0, 1, 3, None)
    )
    assert all((first == other).all() for other in others)


def test_large_features_are_mapped(tiny_backbone, images, monkeypatch):
    plain = extract_features(images, tiny_backbone).features
    monkeypatch.setattr("labelsieve.core.arrays.SHARE_OF_MEMORY", 0.0)
    mapped = extract_features(images, tiny_backbone).features
    assert isinstance(mapped, np.memmap)
    assert (mapped == plain).all()


def test_same_run_twice_is_identical(tiny_backbone, images):
    first, second = (extract_features(images, tiny_backbone, batch_size=4) for _ in range(2))
    assert (first.features == second.features).all()


def test_broken_images_are_reported_and_the_rest_is_right(tiny_backbone, images):
    files = list(images.files)
    files[0], files[3], files[7] = b"", files[3][:200], FileNotFoundError("gone.png is missing")
    result = extract_features(FakeImages(files), tiny_backbone, batch_size=2)
    assert list(result.errors) == [0, 3, 7]
    assert "empty" in result.errors[0]
    assert result.errors[7] == "gone.png is missing"
    assert (result.features[[0, 3, 7]] == 0).all()
    assert result.ok.tolist() == [row not in (0, 3, 7) for row in range(11)]
    whole = extract_features(images, tiny_backbone)
    np.testing.assert_allclose(result.features[result.ok], whole.features[result.ok], atol=2e-6)


def test_all_images_broken_or_none_at_all(tiny_backbone):
    result = extract_features(FakeImages([b"", b"x"]), tiny_backbone)
    assert list(result.errors) == [0, 1]
    assert extract_features(FakeImages([]), tiny_backbone).features.shape == (0, 24)


def test_equal_bytes_are_encoded_once(tiny_backbone):
    files = [png(seed) for seed in (0, 1, 0, 0, 2, 1)]
    counting = Counting(tiny_backbone)
    features = extract_features(FakeImages(files), counting, batch_size=2).features
    assert counting.encoded == 3
    assert (features[2] == features[0]).all()
    assert (features[5] == features[1]).all()
    assert not np.allclose(features[4], features[0])


def test_non_finite_features_are_errors_and_never_cached(tiny_backbone, images):
    class Broken(Counting):
        def encode_images(self, pixels):
            features = super().encode_images(pixels)
            features[1] = torch.nan
            return features

    cache = FeatureCache()
    result = extract_features(images, Broken(tiny_backbone), batch_size=11, cache=cache)
    assert result.errors == {1: "features are not finite in torch.float32"}
    assert (result.features[1] == 0).all()
    assert cache.entries()[0].images == 10


def test_second_run_reads_the_cache(tiny_backbone, images, tmp_path):
    cache, counting = FeatureCache(tmp_path), Counting(tiny_backbone)
    first = extract_features(images, counting, cache=cache)
    shuffled = FakeImages(images.files[::-1])
    second = extract_features(shuffled, counting, cache=FeatureCache(tmp_path))
    assert counting.encoded == 11
    assert (second.features == first.features[::-1]).all()


def test_new_images_join_the_cached_ones(tiny_backbone, images):
    cache, counting = FeatureCache(), Counting(tiny_backbone)
    extract_features(FakeImages(images.files[:6]), counting, cache=cache)
    result = extract_features(images, counting, cache=cache)
    assert counting.encoded == 11
    plain = extract_features(images, tiny_backbone)
    np.testing.assert_allclose(result.features, plain.features, atol=2e-6)
    (entry,) = cache.entries()
    assert (entry.images, entry.model_id, entry.dtype) == (11, "tiny-clip", "float32")


def test_interrupted_run_keeps_what_it_had(tiny_backbone, images):
    cache = FeatureCache()
    with pytest.raises(KeyboardInterrupt):
        extract_features(images, Counting(tiny_backbone, 8), batch_size=4, cache=cache)
    counting = Counting(tiny_backbone)
    extract_features(images, counting, cache=cache)
    assert counting.encoded == 3


def test_damaged_shard_is_ignored_with_a_warning(tiny_backbone, images, caplog):
    cache, counting = FeatureCache(), Counting(tiny_backbone)
    whole = extract_features(images, counting, cache=cache)
    (shard,) = cache.path.glob("*/shard-*")
    shard.write_bytes(shard.read_bytes()[:-40])
    with caplog.at_level(logging.WARNING):
        again = extract_features(images, counting, cache=cache)
    assert "ignoring the damaged cache file" in caplog.text
    assert counting.encoded == 22
    assert (again.features == whole.features).all()


def test_shard_that_vanishes_during_the_run_is_redone(tiny_backbone, images, caplog):
    cache, counting = FeatureCache(), Counting(tiny_backbone)
    whole = extract_features(images, counting, cache=cache)
    store = cache.store(tiny_backbone)
    run = _Extraction(images, counting, store, 4, 0)
    run.encode(range(11), show=False)
    next(cache.path.glob("*/shard-*")).unlink()
    run.read_cached()
    assert counting.encoded == 22
    np.testing.assert_allclose(run.features, whole.features, atol=2e-6)
    assert "ignoring the damaged" in caplog.text


def test_shards_are_written_on_the_way(tiny_backbone):
    store = FeatureCache().store(tiny_backbone)
    for start in range(0, 2 * SHARD_ROWS, 256):
        keys = [row.to_bytes(16, "big") for row in range(start, start + 256)]
        store.add(keys, np.full((256, 24), start, dtype=np.float32))
    assert len(list(store.folder.glob("shard-*"))) == 2
    again = FeatureCache().store(tiny_backbone)
    out = np.zeros((2, 24), dtype=np.float32)
    assert again.read({0: (2000).to_bytes(16, "big"), 1: (5).to_bytes(16, "big")}, out) == []
    assert out[:, 0].tolist() == [1792.0, 0.0]


def test_entries_and_removal(tiny_backbone, images):
    cache = FeatureCache()
    assert cache.entries() == []
    assert cache.remove() == []
    extract_features(images, tiny_backbone, cache=cache)
    (entry,) = cache.entries()
    assert entry.bytes >= 11 * (24 * 4 + 16)
    with pytest.raises(InputError, match=r"holds no 'other'; it holds .*tiny-clip"):
        cache.remove("other")
    assert cache.remove("tiny-clip") == [entry]
    assert cache.entries() == []


def test_unwritable_cache_is_explained(tiny_backbone, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"cannot write the feature cache .*LABELSIEVE_CACHE"):
        FeatureCache(tmp_path / "file").store(tiny_backbone)


def test_full_disk_costs_the_cache_and_not_the_run(tiny_backbone, images, monkeypatch, caplog):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr("labelsieve.backbones.cache.save_tensors", full)
    result = extract_features(images, tiny_backbone, cache=FeatureCache())
    assert result.ok.all()
    assert "features of 11 images could not be cached: no space left" in caplog.text


def test_cache_location_follows_the_environment(monkeypatch, tmp_path):
    assert FeatureCache(tmp_path).path == tmp_path / "features"
    monkeypatch.setenv("LABELSIEVE_CACHE", str(tmp_path / "own"))
    assert FeatureCache().path == tmp_path / "own" / "features"
    monkeypatch.delenv("LABELSIEVE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert FeatureCache().path == tmp_path / "xdg" / "labelsieve" / "features"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert FeatureCache().path == tmp_path / ".cache" / "labelsieve" / "features"


def test_wrong_arguments(tiny_backbone, images):
    with pytest.raises(InputError, match="batch_size must be an integer"):
        extract_features(images, tiny_backbone, batch_size=0)
    with pytest.raises(InputError, match="workers must be an integer"):
        extract_features(images, tiny_backbone, workers=-1)


def test_no_thread_is_left_behind(tiny_backbone, images):
    with pytest.raises(KeyboardInterrupt):
        extract_features(images, Counting(tiny_backbone, 0), batch_size=2)
    assert not [t for t in threading.enumerate() if t.name.startswith("labelsieve-images")]


def test_one_view_is_the_plain_image(tiny_backbone, images):
    plain = extract_features(images, tiny_backbone).features
    views = augmented_features(images, tiny_backbone, 1, 0)
    assert views.shape == (11, 1, 24)
    np.testing.assert_allclose(views[:, 0], plain, atol=2e-6)


def test_views_differ_follow_the_seed_and_not_the_batching(tiny_backbone, images):
    files = [*images.files[:5], b"broken"]
    views = augmented_features(FakeImages(files), tiny_backbone, 3, 0)
    again = augmented_features(FakeImages(files), tiny_backbone, 3, 0, batch_size=1, workers=0)
    np.testing.assert_allclose(views, again, atol=2e-6)
    assert np.abs(views - augmented_features(FakeImages(files), tiny_backbone, 3, 1)).max() > 0.01
    assert np.abs(views[:5, 0] - views[:5, 1]).max(axis=1).min() > 1e-3
    assert (views[5] == 0).all()
    np.testing.assert_allclose(np.linalg.norm(views[:5], axis=2), 1, atol=1e-5)


def test_crops_have_the_asked_area_and_aspect():
    draw = np.random.default_rng(0)
    boxes = np.array([random_box(400, 300, draw, (0.25, 0.5)) for _ in range(500)])
    width, height = boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1]
    share, aspect = width * height / (400 * 300), width / height
    assert 0.245 < share.min() < 0.27
    assert 0.48 < share.max() < 0.505
    assert share.mean() == pytest.approx(0.375, abs=0.01)
    assert 0.73 < aspect.min() < 0.8
    assert 1.25 < aspect.max() < 1.36
    assert (boxes[:, :2] >= 0).all()
    assert (boxes[:, 2] <= 400).all()
    assert (boxes[:, 3] <= 300).all()


def test_an_extremely_wide_image_falls_back_to_a_centred_crop():
    draw = np.random.default_rng(0)
    assert random_box(3000, 30, draw, (0.9, 1.0)) == (1480, 0, 1520, 30)
