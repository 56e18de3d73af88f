"""Large arrays lie in a file, and behave like any other."""

import numpy as np

from labelsieve.core import arrays


def test_small_arrays_are_plain_and_large_ones_mapped(monkeypatch):
    small = arrays.zeros((3, 4))
    assert type(small) is np.ndarray
    assert small.dtype == np.float32
    monkeypatch.setattr(arrays, "SHARE_OF_MEMORY", 0.0)
    large = arrays.zeros((1000, 8), np.float64)
    assert isinstance(large, np.memmap)
    assert not large.any()
    large[7] = 2.0
    assert large.sum() == 16.0
    assert arrays.zeros((1000, 8)).sum() == 0.0  # a file of its own


def test_rows_are_taken_in_their_order_and_large_ones_mapped(monkeypatch):
    matrix = np.arange(20, dtype=np.float32).reshape(5, 4)
    rows = np.array([4, 0, 4])
    np.testing.assert_array_equal(arrays.take(matrix, rows), matrix[rows])
    monkeypatch.setattr(arrays, "SHARE_OF_MEMORY", 0.0)
    taken = arrays.take(matrix, rows)
    assert isinstance(taken, np.memmap)
    np.testing.assert_array_equal(taken, matrix[rows])


def test_the_limit_follows_the_memory():
    assert 1 << 20 < arrays.large_bytes() < 1 << 45


def test_chunks_cover_all_rows_once():
    for n_rows, n_columns in ((0, 3), (1, 1), (1000, 7), (5, 10**9)):
        parts = arrays.chunks(n_rows, n_columns, 1 << 10)
        assert [i for part in parts for i in range(n_rows)[part]] == list(range(n_rows))
        assert all(
            (p.stop - p.start) * n_columns * 8 <= 1 << 10 or p.stop - p.start == 1 for p in parts
        )


def test_many_probabilities_are_float32_in_a_file(monkeypatch):
    assert arrays.probabilities(5, 3).dtype == np.float64
    monkeypatch.setattr(arrays, "SHARE_OF_MEMORY", 0.0)
    large = arrays.probabilities(5, 3)
    assert large.dtype == np.float32
    assert isinstance(large, np.memmap)
