"""Stratified subsets: quotas are met, small classes are kept, a seed decides."""

import numpy as np

from labelsieve.data import inject_noise
from labelsieve.selection.subset import LEAST, quotas, stratified_subset


def test_each_class_meets_its_quota_and_the_seed_decides():
    labels = np.random.default_rng(0).permutation(np.repeat([0, 1, 2, 4], [1000, 300, 50, 7]))
    rows = stratified_subset(labels, 200, 3)
    counts = np.bincount(labels[rows], minlength=5)
    assert counts.tolist() == quotas(np.array([1000, 300, 50, 0, 7]), 200).tolist()
    assert counts.tolist() == [148, 45, LEAST, 0, 7]
    assert (np.diff(rows) > 0).all()
    assert np.array_equal(rows, stratified_subset(labels, 200, 3))
    assert not np.array_equal(rows, stratified_subset(labels, 200, 4))


def test_all_rows_where_all_are_asked_for():
    labels = np.array([0, 1, 1, 2, 0])
    assert stratified_subset(labels, 5, 0).tolist() == [0, 1, 2, 3, 4]


def test_every_row_of_a_class_is_as_likely():
    labels = np.zeros(100, dtype=np.int64)
    hits = np.zeros(100)
    for seed in range(400):
        hits[stratified_subset(labels, 50, seed)] += 1
    assert abs(hits / 400 - 0.5).max() < 0.11  # more than four standard deviations


def test_noise_of_the_same_seed_does_not_choose_the_rows():
    true = np.arange(20_000) % 10
    given = inject_noise(true, 10, kind="symmetric", rate=0.3, random_state=0).labels
    rows = stratified_subset(given, 4000, 0)
    assert abs((given != true)[rows].mean() - 0.3) < 0.03
