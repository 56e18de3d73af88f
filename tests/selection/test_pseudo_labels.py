import numpy as np

from labelsieve.selection.pseudo_labels import most_confident


def test_against_a_loop():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(200, 6)) * 4
    logits[:, 5] = -100  # never predicted
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = p.argmax(axis=1)
    for shots in (1, 7, 1000):
        expected = []
        for k in range(6):
            rows = np.flatnonzero(labels == k)
            expected += sorted(rows, key=lambda i: -p[i, k])[:shots]
        assert most_confident(logits, shots).tolist() == sorted(expected)


def test_a_shift_of_logits_and_large_ones_change_nothing():
    logits = np.random.default_rng(1).normal(size=(50, 3)) * 300
    assert most_confident(logits, 4).tolist() == most_confident(logits + 1000, 4).tolist()
