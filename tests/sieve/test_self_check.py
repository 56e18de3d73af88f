"""The rehearsal: which labels are flipped, and to what."""

import numpy as np
import pytest

from labelsieve.core.exceptions import InputError
from labelsieve.data import few_shot, load_images
from labelsieve.selection.subset import stratified_subset
from labelsieve.sieve import LabelSieve, scan
from labelsieve.sieve.self_check import flip_labels, wilson_interval
from problems import write_colour_tree


def test_the_rate_is_exact_and_the_rest_stays():
    labels = np.repeat([0, 1, 2, -1], 50)
    found = flip_labels(labels, np.eye(3), 0.3, random_state=0)
    assert found.flipped.sum() == 45
    assert (found.labels[~found.flipped] == labels[~found.flipped]).all()
    assert (found.labels[found.flipped] != labels[found.flipped]).all()
    assert (labels[found.flipped] >= 0).all()
    again = flip_labels(labels, np.eye(3), 0.3, random_state=0)
    assert (again.labels == found.labels).all()


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_rows_that_a_detector_of_the_same_seed_draws_are_flipped_as_often_as_others(seed):
    """Shots and subsets must not be the flipped rows: nothing would be left to find them by."""
    labels = np.arange(4000) % 10
    found = flip_labels(labels, np.full((10, 10), 0.1), 0.1, random_state=seed)
    shots = few_shot(found.labels, 40, seed)
    some = stratified_subset(found.labels, 800, seed)
    assert found.flipped[shots].mean() == pytest.approx(0.1, abs=0.05)
    assert found.flipped[some].mean() == pytest.approx(0.1, abs=0.03)


def test_flips_follow_the_noise_matrix():
    matrix = np.array([[0.6, 0.3, 0.1], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])
    labels = np.repeat([0, 1, 2], 8000)
    found = flip_labels(labels, matrix, 0.5, random_state=1)
    moved = np.zeros((3, 3))
    np.add.at(moved, (labels[found.flipped], found.labels[found.flipped]), 1)
    share = moved / moved.sum(axis=1, keepdims=True)
    expected = [[0, 0.75, 0.25], [0.5, 0, 0.5], [0.5, 0.5, 0]]  # evenly where nothing is known
    assert share == pytest.approx(np.array(expected), abs=0.03)


def test_labels_of_unreadable_images_are_not_flipped(tmp_path, tiny_backbone):
    """They cannot be found, so they would count as missed."""
    root = write_colour_tree(tmp_path / "photos")
    for path in root.glob("*/*[02468].png"):
        path.write_bytes(b"no image")
    images = load_images(root)
    sieve = LabelSieve(tiny_backbone, detector="label-match", tuner="zero-shot").fit(images)
    n_readable = int(sieve.features_.ok.sum())
    assert 0 < n_readable < 30
    assert sieve.rehearse(images, 0.5)["n_flipped"] == round(0.5 * n_readable)


@pytest.mark.parametrize("rate", [0, 1, 0.001])
def test_a_rate_that_flips_nothing_or_all_is_told_before_the_scan(rate, tmp_path):
    images = load_images(write_colour_tree(tmp_path / "photos"))
    with pytest.raises(InputError, match=r"flips (0|42) of 42 labels; choose a rate that"):
        scan(images, tmp_path / "out", LabelSieve("/nowhere"), self_check=rate)
    assert not (tmp_path / "out").exists()


def test_wilson_interval_against_published_values():
    low, high = wilson_interval(0, 10)
    assert low == 0
    assert high == pytest.approx(1.6449**2 / (10 + 1.6449**2), abs=1e-4)
    low, high = wilson_interval(50, 100)
    assert low + high == pytest.approx(1.0)
