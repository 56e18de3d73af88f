"""The rehearsal: which labels are flipped, and to what."""

import numpy as np
import pytest

from labelsieve.sieve.self_check import flip_labels, wilson_interval


def test_the_rate_is_exact_and_the_rest_stays():
    labels = np.repeat([0, 1, 2, -1], 50)
    found = flip_labels(labels, np.eye(3), 0.3, random_state=0)
    assert found.flipped.sum() == 45
    assert (found.labels[~found.flipped] == labels[~found.flipped]).all()
    assert (found.labels[found.flipped] != labels[found.flipped]).all()
    assert (labels[found.flipped] >= 0).all()
    again = flip_labels(labels, np.eye(3), 0.3, random_state=0)
    assert (again.labels == found.labels).all()


def test_flips_follow_the_noise_matrix():
    matrix = np.array([[0.6, 0.3, 0.1], [0.0, 1.0, 0.0], [0.5, 0.5, 0.0]])
    labels = np.repeat([0, 1, 2], 8000)
    found = flip_labels(labels, matrix, 0.5, random_state=1)
    moved = np.zeros((3, 3))
    np.add.at(moved, (labels[found.flipped], found.labels[found.flipped]), 1)
    share = moved / moved.sum(axis=1, keepdims=True)
    expected = [[0, 0.75, 0.25], [0.5, 0, 0.5], [0.5, 0.5, 0]]  # evenly where nothing is known
    assert share == pytest.approx(np.array(expected), abs=0.03)


def test_wilson_interval_against_published_values():
    low, high = wilson_interval(0, 10)
    assert low == 0
    assert high == pytest.approx(1.6449**2 / (10 + 1.6449**2), abs=1e-4)
    low, high = wilson_interval(50, 100)
    assert low + high == pytest.approx(1.0)
