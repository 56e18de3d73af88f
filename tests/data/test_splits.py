import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelsieve.core.exceptions import InputError
from labelsieve.data import batches, few_shot, inject_noise, stratified_split

LABELS = st.lists(st.integers(-1, 4), max_size=80)
SEEDS = st.integers(0, 2**32)


@settings(deadline=None, max_examples=60)
@given(LABELS, st.integers(1, 20), SEEDS)
def test_few_shot_takes_shots_or_all(labels, shots, seed):
    rows = few_shot(np.array(labels, np.int64), shots, seed)
    drawn = np.array(labels, np.int64)[rows]
    assert (np.diff(rows) > 0).all()
    assert (drawn >= 0).all()
    for k in range(5):
        assert (drawn == k).sum() == min(shots, labels.count(k))


@settings(deadline=None, max_examples=60)
@given(LABELS, st.floats(0, 1), SEEDS)
def test_stratified_split_keeps_the_mix(labels, fraction, seed):
    array = np.array(labels, np.int64)
    first, second = stratified_split(array, fraction, seed)
    assert sorted([*first, *second]) == list(range(len(labels)))
    assert len(first) == int(np.floor(fraction * len(labels) + 0.5))
    for k in range(-1, 5):
        share = fraction * labels.count(k)
        assert np.floor(share) - 1e-9 <= (array[first] == k).sum() <= np.ceil(share) + 1e-9


@settings(deadline=None, max_examples=60)
@given(st.integers(0, 200), st.integers(1, 50), SEEDS)
def test_batches_cover_every_row_once(n, batch_size, seed):
    found = batches(n, batch_size, seed)
    assert sorted(np.concatenate([*found, np.array([], int)])) == list(range(n))
    assert all(len(batch) == batch_size for batch in found[:-1])
    assert len(found) == -(-n // batch_size)


def test_a_seed_decides_and_a_generator_goes_on():
    labels = np.arange(60) % 3
    assert few_shot(labels, 4, 0).tolist() == few_shot(labels, 4, 0).tolist()
    assert few_shot(labels, 4, 0).tolist() != few_shot(labels, 4, 1).tolist()
    assert (
        stratified_split(labels, 0.5, 0)[0].tolist() == stratified_split(labels, 0.5, 0)[0].tolist()
    )
    generator = np.random.default_rng(0)
    assert batches(60, 60, generator)[0].tolist() != batches(60, 60, generator)[0].tolist()


def test_few_shot_draws_every_row_equally_often():
    labels = np.zeros(5, np.int64)
    generator = np.random.default_rng(0)
    counts = sum(np.bincount(few_shot(labels, 2, generator), minlength=5) for _ in range(2000))
    assert np.allclose(counts / 2000, 0.4, atol=0.05)


@pytest.mark.parametrize(
    ("call", "text"),
    [
        (lambda: few_shot([0], 0, 0), "shots must be an integer in 1..inf, not 0"),
        (lambda: few_shot(["a"], 1, 0), "labels must be integers of shape"),
        (lambda: stratified_split([0], 2, 0), "fraction must be a number in 0..1, not 2"),
        (lambda: batches(3, 0, 0), "batch_size must be an integer in 1..inf, not 0"),
        (lambda: batches(-1, 1, 0), "n must be an integer in 0..inf, not -1"),
    ],
)
def test_bad_arguments(call, text):
    with pytest.raises(InputError, match=text):
        call()


@pytest.mark.parametrize("seed", range(4))
def test_shots_and_splits_do_not_follow_label_noise_of_the_same_seed(seed):
    true = np.arange(2000) % 10
    noisy = inject_noise(true, 10, kind="symmetric", rate=0.5, random_state=seed).labels
    wrong = noisy != true
    shots = few_shot(noisy, 16, np.random.default_rng(seed))
    first, _ = stratified_split(noisy, 0.2, seed)
    for rows in (shots, few_shot(true, 16, seed), first):  # sd .04 of 160 rows
        assert abs(wrong[rows].mean() - 0.5) < 0.16
