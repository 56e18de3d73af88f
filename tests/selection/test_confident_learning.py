"""Confident learning against a textbook loop and against cleanlab."""

import numpy as np
import pytest

from labelsieve.selection import confident_learning
from labelsieve.selection.confident_learning import confident_joint, prune_by_noise_rate


def noisy_problem(n=1500, n_classes=5, rate=0.25, seed=0):
    rng = np.random.default_rng(seed)
    true = rng.integers(n_classes, size=n)
    logits = rng.normal(size=(n, n_classes)) + 2.5 * np.eye(n_classes)[true]
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    given = true.copy()
    flipped = rng.random(n) < rate
    given[flipped] = (true[flipped] + rng.integers(1, n_classes, flipped.sum())) % n_classes
    return p, given, true


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_joint_equals_a_loop_over_samples(dtype):
    p, given, _ = noisy_problem(300)
    p = p.astype(dtype)
    thresholds = [p[given == k, k].mean(dtype=float) for k in range(5)]
    counts = np.zeros((5, 5))
    for row, label in zip(p, given, strict=True):
        reached = [k for k in range(5) if row[k] >= thresholds[k]]
        if reached:
            counts[label, max(reached, key=lambda k: row[k])] += 1
    sizes = np.bincount(given)
    expected = counts / counts.sum(axis=1, keepdims=True) * sizes[:, None]
    np.testing.assert_allclose(confident_joint(p, given), expected)
    assert confident_joint(p, given).sum() == pytest.approx(300)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_flags_agree_with_cleanlab(seed):
    cleanlab = pytest.importorskip("cleanlab.filter")
    p, given, _ = noisy_problem(seed=seed)
    ours = prune_by_noise_rate(p, given)
    theirs = cleanlab.find_label_issues(given, p, filter_by="prune_by_noise_rate", n_jobs=1)
    assert (ours & theirs).sum() / (ours | theirs).sum() > 0.97


def textbook_pruning(p, labels):
    """The rule pair by pair, over all rows."""
    counts = np.rint(confident_joint(p, labels)).astype(int)
    flagged = np.zeros(len(labels), dtype=bool)
    for given in range(p.shape[1]):
        rows = np.flatnonzero(labels == given)
        for true in range(p.shape[1]):
            if true != given:
                worst = np.argsort(p[rows, given] - p[rows, true], kind="stable")
                flagged[rows[worst[: counts[given, true]]]] = True
    return flagged & (p.argmax(axis=1) != labels)


@pytest.mark.parametrize("digits", [None, 1, 2])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("n", "n_classes", "rate"), [(400, 3, 0.6), (1500, 40, 0.3), (60, 20, 0.5)]
)
def test_pruning_equals_the_textbook(n, n_classes, rate, dtype, digits, monkeypatch):
    monkeypatch.setattr(confident_learning, "CACHED", 8 * n_classes * 37)
    for seed in range(5):
        p, given, _ = noisy_problem(n, n_classes, rate, seed)
        p = p.astype(dtype) if digits is None else p.round(digits).astype(dtype)  # ties
        assert np.array_equal(prune_by_noise_rate(p, given), textbook_pruning(p, given))


def test_finds_most_of_the_flips():
    p, given, true = noisy_problem()
    flagged = prune_by_noise_rate(p, given)
    assert (given != true)[flagged].mean() > 0.8
    assert flagged[given != true].mean() > 0.7


def test_nothing_is_flagged_when_predictions_agree_and_empty_classes_are_harmless():
    labels = np.array([0, 0, 1, 1])
    p = np.full((4, 3), 0.05)
    p[np.arange(4), labels] = 0.9
    assert not prune_by_noise_rate(p, labels).any()
