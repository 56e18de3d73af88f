"""Neighbours from inverted lists: exact with all of them, nearly so with few."""

import numpy as np
import pytest
import torch

from labelsieve.selection.inverted_lists import approximate_neighbours
from labelsieve.selection.neighbours import nearest_neighbours, neighbour_votes


def clustered(n=3000, d=24, n_centres=30, seed=0):
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(n_centres, d))
    x = centres[rng.integers(n_centres, size=n)] + 0.7 * rng.normal(size=(n, d))
    return (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)


def share_found(found, wanted):
    return np.mean([len(set(a) & set(b)) / len(b) for a, b in zip(found, wanted, strict=True)])


def test_all_lists_give_the_exact_neighbours():
    x = clustered(700)
    wanted, cosines = nearest_neighbours(x, 6)
    found, similarities = approximate_neighbours(torch.as_tensor(x), 6, probes=14, list_rows=50)
    assert np.array_equal(found.numpy(), wanted)
    np.testing.assert_allclose(similarities.numpy(), cosines, atol=1e-6)


def test_few_lists_find_nearly_all():
    x = clustered()
    wanted, _ = nearest_neighbours(x, 10)
    shares = [
        share_found(
            approximate_neighbours(torch.as_tensor(x), 10, probes=n, list_rows=100)[0].numpy(),
            wanted,
        )
        for n in (2, 8)
    ]
    assert shares[0] > 0.8
    assert shares[1] > 0.97


def test_a_row_is_never_its_own_neighbour_and_similarities_are_cosines():
    x = clustered(500)
    found, similarities = approximate_neighbours(torch.as_tensor(x), 5, probes=3, list_rows=25)
    assert (found != torch.arange(500)[:, None]).all()
    assert (similarities.diff(dim=1) <= 0).all()
    cosines = (x[:, None] * x[found.numpy()]).sum(axis=2)
    np.testing.assert_allclose(similarities.numpy(), cosines, atol=1e-6)


def test_small_lists_still_give_k_neighbours():
    x = clustered(60)
    found, _ = approximate_neighbours(torch.as_tensor(x), 20, probes=1, list_rows=3)
    assert all(len(set(row)) == 20 for row in found.tolist())


def test_equal_rows_are_no_trouble():
    x = np.zeros((300, 4), np.float32)
    x[:, 0] = 1.0
    found, similarities = approximate_neighbours(torch.as_tensor(x), 3, list_rows=20)
    assert (found != torch.arange(300)[:, None]).all()
    assert (similarities == 1.0).all()


def test_same_seed_same_neighbours():
    x = torch.as_tensor(clustered(400))
    first, second = (approximate_neighbours(x, 5, probes=4, list_rows=20) for _ in range(2))
    assert torch.equal(first[0], second[0])


def test_votes_take_the_lists_beyond_the_limit(monkeypatch):
    from labelsieve.selection import neighbours

    x, labels = clustered(500), np.random.default_rng(0).integers(7, size=500)
    exact = neighbour_votes(x, labels, 7)
    calls = []
    whole = neighbours.approximate_neighbours
    monkeypatch.setattr(
        neighbours, "approximate_neighbours", lambda *a: calls.append(1) or whole(*a)
    )
    wanted = nearest_neighbours(x, 10)
    found = nearest_neighbours(x, 10, exact_rows=499)
    assert calls == [1]
    assert np.array_equal(found[0], wanted[0])  # 500 rows are one list
    np.testing.assert_allclose(exact.sum(axis=1), 1.0)


@pytest.mark.parametrize("n_bytes", [100, 1 << 20])
def test_votes_do_not_depend_on_the_chunks(monkeypatch, n_bytes):
    from labelsieve.core import arrays
    from labelsieve.selection import neighbours

    x, labels = clustered(200), np.random.default_rng(0).integers(7, size=200)
    expected = neighbour_votes(x, labels, 7)
    monkeypatch.setattr(neighbours, "chunks", lambda n, k: arrays.chunks(n, k, n_bytes))
    np.testing.assert_array_equal(neighbour_votes(x, labels, 7), expected)
