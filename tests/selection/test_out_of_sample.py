"""Out-of-sample probabilities: never fitted to the row itself, whatever the class sizes."""

import numpy as np
import pytest

from labelsieve.core.exceptions import InputError
from labelsieve.selection.out_of_sample import fold_of_each_row, out_of_sample_probabilities


def blobs(seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(3), 30)
    return (rng.normal(size=(90, 4)) + 3 * np.eye(3, 4)[labels]).astype(np.float32), labels


def test_folds_are_balanced_in_every_class():
    labels = np.repeat(np.arange(3), [10, 23, 5])
    folds = fold_of_each_row(labels, 5, 0)
    for k in range(3):
        sizes = np.bincount(folds[labels == k], minlength=5)
        assert sizes.max() - sizes.min() <= 1
    assert folds.tolist() == fold_of_each_row(labels, 5, 0).tolist()
    assert folds.tolist() != fold_of_each_row(labels, 5, 1).tolist()


def test_a_rows_own_label_does_not_change_its_probabilities_much():
    features, labels = blobs()
    p = out_of_sample_probabilities(features, labels, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-6)
    assert (p.argmax(axis=1) == labels).mean() > 0.9
    flipped = labels.copy()
    flipped[0] = 2
    q = out_of_sample_probabilities(features, flipped, 3)
    assert q[0].argmax() == labels[0]


def test_a_class_with_one_sample_and_an_empty_class_get_no_nan():
    features, labels = blobs()
    labels = labels.copy()
    labels[0] = 3
    p = out_of_sample_probabilities(features, labels, 5)
    assert np.isfinite(p).all()
    assert p[0, 3] == 0.0
    assert (p[:, 4] == 0).all()


def test_where_nothing_is_left_to_fit_every_class_is_as_likely():
    features, labels = np.eye(2, dtype=np.float32), np.array([0, 1])
    rows = {
        tuple(out_of_sample_probabilities(features, labels, 3, random_state=seed)[0])
        for seed in range(12)
    }
    assert rows == {(0.0, 1.0, 0.0), (1 / 3, 1 / 3, 1 / 3)}  # the other row's class, or no row


def test_one_class_is_refused():
    with pytest.raises(InputError, match="all given labels are of one class"):
        out_of_sample_probabilities(np.eye(4, dtype=np.float32), np.zeros(4, int), 2)
