import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import chi2

from labelsieve.core.exceptions import InputError
from labelsieve.data import inject_noise

MATRIX = np.array([[0.7, 0.2, 0.1], [0, 1, 0], [0.5, 0.05, 0.45]])


def draw(labels, matrix=MATRIX, seed=0):
    n_classes = len(matrix)
    return inject_noise(labels, n_classes, kind="class-dependent", matrix=matrix, random_state=seed)


def test_the_rate_follows_from_the_matrix_and_the_counts():
    noisy = draw([0] * 10 + [1] * 30 + [2] * 10 + [-1] * 50)
    assert noisy.expected_rate == pytest.approx((10 * 0.3 + 10 * 0.55) / 50)
    assert noisy.rate is None
    assert np.array_equal(noisy.transition, MATRIX)


def test_labels_follow_the_matrix():
    sizes = np.array([20_000, 5_000, 40_000])
    labels = np.repeat(np.arange(3), sizes)
    noisy = draw(labels)
    counts = noisy.realised_transition * sizes[:, None]
    expected = MATRIX * sizes[:, None]
    assert (counts[MATRIX == 0] == 0).all()
    possible = expected > 0
    statistic = ((counts - expected)[possible] ** 2 / expected[possible]).sum()
    assert statistic < chi2.ppf(0.999, df=4)  # two free entries in each of rows 0 and 2
    spread = np.sqrt((sizes * np.diag(MATRIX) * (1 - np.diag(MATRIX))).sum()) / sizes.sum()
    assert abs(noisy.realised_rate - noisy.expected_rate) < 3 * spread


@settings(deadline=None, max_examples=60)
@given(
    labels=st.lists(st.integers(-1, 2), max_size=40),
    weights=st.lists(st.integers(1, 9), min_size=9, max_size=9),
    seed=st.integers(0, 2**32),
)
def test_what_holds_for_every_matrix(labels, weights, seed):
    matrix = np.array(weights, dtype=float).reshape(3, 3)
    matrix /= matrix.sum(axis=1, keepdims=True)
    before = np.array(labels, dtype=np.int64)
    noisy = draw(before, matrix, seed)
    assert ((noisy.labels == -1) == (before == -1)).all()
    assert noisy.labels.max(initial=0) < 3
    assert before.tolist() == labels
    assert (draw(before, matrix, seed).labels == noisy.labels).all()
    longer = draw(np.r_[before, 0], matrix, seed).labels
    assert (longer[:-1] == noisy.labels).all()  # a row's draw does not depend on later rows
    assert (draw(before, np.eye(3), seed).labels == before).all()


def test_seeds_differ():
    labels = np.zeros(100, dtype=int)
    assert (draw(labels, seed=0).labels != draw(labels, seed=1).labels).any()


def test_a_permutation_matrix_is_certain():
    assert draw([0, 1, 2, 0], np.roll(np.eye(3), 1, axis=1)).labels.tolist() == [1, 2, 0, 1]


def test_a_bad_matrix_is_refused():
    with pytest.raises(InputError, match=r"expected shape \(3, 3\).*but got \(2, 3\)"):
        inject_noise([0], 3, kind="class-dependent", matrix=MATRIX[:2], random_state=0)
