import random
import tracemalloc

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from test_pixels import make_images

from labelsieve.core.exceptions import InputError
from labelsieve.data import inject_noise
from labelsieve.data.instance_noise import (
    class_weights,
    draw_rows,
    flip_probabilities,
    pick,
    scale_pixels,
)

K, SIDE = 4, 5
N = 60
LABELS = np.arange(N) % K


def make_pixels(n, side=SIDE):
    return np.random.default_rng(1).integers(0, 256, (n, side, side, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    return make_images(tmp_path_factory.mktemp("pixels"), list(make_pixels(N)))


def draw(images, labels=LABELS, *, rate=0.4, seed=0, n_classes=K, **options):
    arguments = {"kind": "instance-dependent", "rate": rate, "random_state": seed, **options}
    return inject_noise(labels, n_classes, images=images, **arguments)


def textbook(pixels, labels, *, seed, rate, normalize):
    """One image after the other, as in the paper; nothing vectorised."""
    root = int(np.random.default_rng(seed).integers(2**63))
    rho, uniform = draw_rows(root, len(labels), rate)
    noisy, distributions = [], []
    for i, y in enumerate(labels):
        x = [float(v) for channel in range(3) for v in pixels[i][:, :, channel].ravel()]
        if normalize:
            mean = sum(x) / len(x)
            spread = (sum((v - mean) ** 2 for v in x) / len(x)) ** 0.5
            x = [(v - mean) / spread for v in x]
        weights = class_weights(root, y, (len(x), K))
        scores = [sum(v * w for v, w in zip(x, weights[:, k], strict=True)) for k in range(K)]
        highest = max(score for k, score in enumerate(scores) if k != y)
        e = [0.0 if k == y else np.exp(score - highest) for k, score in enumerate(scores)]
        p = [rho[i] * value / sum(e) for value in e]
        p[y] += 1 - rho[i]
        total, label = 0.0, 0
        while total + p[label] <= uniform[i]:
            total += p[label]
            label += 1
        noisy.append(label)
        distributions.append(p)
    return np.array(noisy), np.array(distributions), rho


@pytest.mark.parametrize("normalize", [False, True])
@pytest.mark.parametrize(("chunk", "weight_bytes"), [(256, 2**27), (7, 1), (1, 5_000)])
def test_it_equals_the_textbook_loop(images, monkeypatch, normalize, chunk, weight_bytes):
    monkeypatch.setattr("labelsieve.data.pixels.CHUNK_ROWS", chunk)
    monkeypatch.setattr("labelsieve.data.instance_noise.WEIGHT_BYTES", weight_bytes)
    labels = LABELS.copy()
    noisy = draw(images, labels, normalize=normalize)
    expected, p, rho = textbook(make_pixels(N), LABELS, seed=0, rate=0.4, normalize=normalize)
    assert noisy.labels.tolist() == expected.tolist()
    assert noisy.expected_rate == pytest.approx(rho.mean(), abs=1e-11)
    means = [p[k::K].mean(axis=0) for k in range(K)]
    assert np.allclose(noisy.transition, means, atol=1e-9)
    assert labels.tolist() == LABELS.tolist()
    assert 0 < noisy.realised_rate == (noisy.labels != LABELS).mean()


@pytest.mark.parametrize(
    ("rate", "mean"), [(0.1, 0.12876), (0.2, 0.205525), (0.3, 0.300444), (0.4, 0.400013)]
)
def test_noise_rates_are_truncated_normal(rate, mean):
    rates, uniform = draw_rows(0, 400_000, rate)
    assert abs(rates.mean() - mean) < 3 * rates.std() / np.sqrt(len(rates))
    assert rates.min() >= 0
    assert rates.max() <= 1
    assert abs(uniform.mean() - 0.5) < 3 * np.sqrt(1 / 12 / len(rates))
    assert abs(np.corrcoef(rates, uniform)[0, 1]) < 3 / np.sqrt(len(rates))


def test_a_rows_draw_does_not_depend_on_their_number():
    for long, short in zip(draw_rows(5, 100, 0.3), draw_rows(5, 10, 0.3), strict=True):
        assert np.array_equal(long[:10], short)


@settings(deadline=None, max_examples=60)
@given(
    x=arrays(np.uint8, (3, 12)),
    rates=arrays(np.float64, 3, elements=st.floats(0, 1)),
    label=st.integers(0, K - 1),
    normalize=st.booleans(),
)
def test_distributions(x, rates, label, normalize):
    p = flip_probabilities(
        scale_pixels(x, normalize), class_weights(0, label, (12, K)), rates, label
    )
    assert (p >= 0).all()
    assert np.allclose(p.sum(axis=1), 1, atol=1e-12)
    assert (p[:, label] == 1 - rates).all()


def test_picking_follows_the_cumulative_probabilities():
    p = np.tile([0.25, 0.0, 0.5, 0.25], (6, 1))
    uniform = np.array([0, 0.2499, 0.25, 0.7499, 0.75, np.nextafter(1, 0)])
    assert pick(p, uniform).tolist() == [0, 0, 2, 2, 3, 3]


def test_constant_images_are_standardised_to_zero():
    assert scale_pixels(np.full((1, 6), 9), normalize=True).tolist() == [[0] * 6]


def test_the_realised_rate_is_near_the_expected_one(images):
    many = images.subset(np.arange(6_000) % N)
    noisy = draw(many, np.arange(6_000) % K, rate=0.2)
    rates, _ = draw_rows(int(np.random.default_rng(0).integers(2**63)), 6_000, 0.2)
    spread = np.sqrt((rates * (1 - rates)).sum()) / 6_000
    assert abs(noisy.realised_rate - noisy.expected_rate) < 3 * spread
    assert noisy.rate == 0.2


def test_raw_pixels_send_a_class_to_fewer_classes_than_standardised_ones(tmp_path):
    many = make_images(tmp_path, list(make_pixels(200, side=8)))
    labels = np.zeros(200, dtype=int)
    raw = draw(many, labels, n_classes=10).transition[0, 1:]
    standardised = draw(many, labels, n_classes=10, normalize=True).transition[0, 1:]
    assert raw.max() / raw.sum() > 0.5 > standardised.max() / standardised.sum()


def test_a_seed_decides_everything(images):
    first, again, other = (draw(images, seed=seed).labels for seed in (3, 3, 4))
    assert (first == again).all()
    assert (first != other).any()
    assert (draw(images, seed=np.random.default_rng(3)).labels == first).all()


def test_rate_0_changes_nothing(images):
    noisy = draw(images, rate=0)
    assert noisy.labels.tolist() == LABELS.tolist()
    assert noisy.expected_rate == 0
    assert np.array_equal(noisy.transition, np.eye(K))


def test_missing_labels_stay_and_do_not_matter_to_others(images):
    full = draw(images).labels
    holes = np.where(np.arange(N) % 3 == 1, -1, LABELS)
    noisy = draw(images, holes)
    assert np.array_equal(noisy.labels, np.where(holes < 0, -1, full))
    none = draw(images, np.full(N, -1))
    assert (none.labels == -1).all()
    assert none.expected_rate == none.realised_rate == 0
    assert np.array_equal(none.transition, np.eye(K))


def test_unreadable_images_keep_their_label(tmp_path):
    arrays = list(make_pixels(40))
    bad = [0, 7, 8, 39]
    for row in bad:
        arrays[row] = None
    images = make_images(tmp_path, arrays)
    labels = np.arange(40) % 2
    labels[39] = -1
    noisy = draw(images, labels, rate=0.9, n_classes=2)
    assert noisy.labels[bad].tolist() == [0, 1, 0, -1]
    assert noisy.notes == ("3 labelled images could not be read and keep their label",)
    rates, _ = draw_rows(int(np.random.default_rng(0).integers(2**63)), 40, 0.9)
    rates[bad] = 0
    assert noisy.expected_rate == pytest.approx(rates.sum() / 39, abs=1e-11)
    with pytest.raises(InputError, match="none of the 2 labelled images can be read; check the p"):
        draw(images.subset([0, 7]), [0, 1], n_classes=2)


def test_images_must_fit_the_labels(images):
    with pytest.raises(InputError, match="images: got 60 of them for 3 labels; one each"):
        draw(images, [0, 1, 2])


def test_the_global_states_are_left_alone(images):
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    draw(images)
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])


def test_memory_does_not_grow_with_the_data_set(tmp_path, monkeypatch):
    monkeypatch.setattr("labelsieve.data.pixels.CHUNK_ROWS", 16)
    monkeypatch.setattr("labelsieve.data.instance_noise.WEIGHT_BYTES", 2**20)
    few = make_images(tmp_path, list(make_pixels(32, side=32)))
    n_rows, width = 1_600, 3 * 32 * 32
    many = few.subset(np.arange(n_rows) % 32)
    tracemalloc.start()
    try:
        draw(many, np.arange(n_rows) % 20, n_classes=20)  # 20 weights of 480 kB
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    matrix, weights = n_rows * width, 20 * width * 20 * 8
    assert peak < 3 * 2**20 < min(matrix, weights)
