"""Neighbour votes against a textbook loop over all pairs."""

import numpy as np

from labelsieve.selection.neighbours import nearest_neighbours, neighbour_votes


def unit_rows(n, d, seed):
    x = np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def test_neighbours_equal_a_loop_whatever_the_block():
    x = unit_rows(57, 8, 0)
    for block in (7, 1000):
        indices, similarities = nearest_neighbours(x, 5, block=block)
        for i in range(57):
            cosine = x @ x[i]
            cosine[i] = -np.inf
            expected = np.argsort(-cosine, kind="stable")[:5]
            assert indices[i].tolist() == expected.tolist()
            np.testing.assert_allclose(similarities[i], cosine[expected], atol=1e-6)


def test_votes_equal_a_loop():
    x, labels = unit_rows(40, 6, 1), np.random.default_rng(1).integers(3, size=40)
    votes = neighbour_votes(x, labels, 3, k=7)
    indices, similarities = nearest_neighbours(x, 7)
    for i in range(40):
        expected = np.zeros(3)
        for j, s in zip(indices[i], similarities[i], strict=True):
            expected[labels[j]] += max(float(s), 0.0)
        np.testing.assert_allclose(votes[i], expected / expected.sum(), atol=1e-6)


def test_a_row_does_not_vote_for_itself_and_few_rows_are_enough():
    x = np.eye(3, dtype=np.float32)
    votes = neighbour_votes(x, np.array([0, 1, 2]), 3, k=10)
    np.testing.assert_allclose(np.diag(votes), 0.0)
    np.testing.assert_allclose(votes.sum(axis=1), 1.0)
