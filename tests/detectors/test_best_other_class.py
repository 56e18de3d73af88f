"""The suggested class against the plain rule, with ties, gaps and missing labels."""

import numpy as np
import pytest

from labelsieve.detectors import issues


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_equals_the_plain_rule(dtype, monkeypatch):
    monkeypatch.setattr(issues, "CACHED", 8 * 6 * 11)
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(6), 200).round(1).astype(dtype)  # many ties
    given = rng.integers(-1, 6, 200)
    p[::7] = np.nan
    p[rng.random(p.shape) < 0.1] = np.nan
    plain = np.nan_to_num(p)
    labeled = np.flatnonzero(given >= 0)
    plain[labeled, given[labeled]] = -1.0
    before = p.copy()
    assert np.array_equal(issues.best_other_class(p, given), plain.argmax(axis=1))
    assert np.array_equal(p, before, equal_nan=True)
