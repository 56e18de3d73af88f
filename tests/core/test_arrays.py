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


def test_the_limit_follows_the_memory():
    assert 1 << 20 < arrays.large_bytes() < 1 << 45
