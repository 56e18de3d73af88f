import random

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from labelsieve.core.exceptions import InputError
from labelsieve.data import NOISE, inject_noise

KINDS = ["symmetric", "pair-flip"]
MATRIX = [[0.7, 0.2, 0.1], [0, 1, 0], [0.5, 0, 0.5]]
CASES = {
    "labels": st.lists(st.integers(-1, 4), max_size=60),
    "rate": st.floats(0, 1),
    "seed": st.integers(0, 2**32),
    "kind": st.sampled_from(KINDS),
}


def test_the_kinds():
    assert NOISE.names() == [*KINDS, "class-dependent", "instance-dependent"]


@settings(deadline=None, max_examples=60)
@given(**CASES)
def test_exactly_the_asked_number_of_labels_is_wrong(labels, rate, seed, kind):
    before = np.array(labels, dtype=np.int64)
    noisy = inject_noise(before, 5, kind=kind, rate=rate, random_state=seed)
    n_labeled = int((before >= 0).sum())
    assert (noisy.labels != before).sum() == round(rate * n_labeled)
    assert (noisy.labels[before < 0] == -1).all()
    assert ((noisy.labels >= 0) == (before >= 0)).all()
    assert noisy.labels.max(initial=0) < 5
    assert before.tolist() == labels
    if n_labeled:
        assert noisy.realised_rate == round(rate * n_labeled) / n_labeled
    if kind == "pair-flip":
        changed = noisy.labels != before
        assert (noisy.labels[changed] == (before[changed] + 1) % 5).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", [0, 7])
def test_a_seed_decides_everything(kind, seed):
    labels = np.arange(100) % 10
    first = inject_noise(labels, 10, kind=kind, rate=0.4, random_state=seed).labels
    again = inject_noise(labels, 10, kind=kind, rate=0.4, random_state=seed).labels
    other = inject_noise(labels, 10, kind=kind, rate=0.4, random_state=seed + 1).labels
    assert (first == again).all()
    assert (first != other).any()


def test_symmetric_noise_is_uniform_over_the_other_classes():
    labels = np.repeat(np.arange(4), 20_000)
    noisy = inject_noise(labels, 4, kind="symmetric", rate=0.6, random_state=0)
    counts = np.zeros((4, 4))
    np.add.at(counts, (labels, noisy.labels), 1)
    expected = np.full((4, 4), 0.2)
    np.fill_diagonal(expected, 0.4)
    assert np.allclose(counts / 20_000, expected, atol=0.015)
    assert np.allclose(noisy.transition, expected)
    assert noisy.realised_rate == noisy.expected_rate == 0.6
    assert np.allclose(noisy.realised_transition, counts / 20_000)


def test_pair_flip_transition():
    noisy = inject_noise([0, 1, 2], 3, kind="pair-flip", rate=0.25, random_state=0)
    assert noisy.transition.tolist() == [[0.75, 0.25, 0], [0, 0.75, 0.25], [0.25, 0, 0.75]]


@pytest.mark.parametrize("kind", KINDS)
def test_rates_and_matrices_go_together(kind):
    labels = [0] * 30 + [1] * 10 + [-1] * 5
    noisy = inject_noise(labels, 3, kind=kind, rate=0.3, random_state=0)
    assert noisy.expected_rate == noisy.realised_rate == 0.3
    off_diagonal = 1 - np.diag(noisy.realised_transition)
    assert off_diagonal[:2] @ [30, 10] == pytest.approx(12)
    assert noisy.realised_transition[2].tolist() == [0, 0, 1]  # no row of that class


@pytest.mark.parametrize("kind", KINDS)
def test_without_labels_there_is_nothing_to_change(kind):
    noisy = inject_noise([-1, -1], 3, kind=kind, rate=0.3, random_state=0)
    assert noisy.labels.tolist() == [-1, -1]
    assert noisy.realised_rate == noisy.expected_rate == 0


@pytest.mark.parametrize("kind", [*KINDS, "class-dependent"])
def test_the_global_states_are_left_alone(kind):
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()  # noqa: NPY002
    choice = {"matrix": MATRIX} if kind == "class-dependent" else {"rate": 0.5}
    inject_noise([0, 1, 2], 3, kind=kind, random_state=0, **choice)
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]  # noqa: NPY002
    assert torch.equal(torch.get_rng_state(), states[2])


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"rate": None}, "symmetric noise: no rate; give the share of labels to make wrong"),
        ({"matrix": MATRIX}, "matrix does not go with it, leave it out: only class-dependent"),
        ({"normalize": True}, "normalize does not go with it.*only instance-dependent noise looks"),
        (
            {"kind": "class-dependent"},
            r"class-dependent noise: 2 problems\n- no matrix; give P\(noisy label \| label before\)"
            r"(.|\n)*- rate does not go with it, leave it out: the matrix decides",
        ),
        ({"kind": "instance-dependent"}, "instance-dependent noise: no images; give the LabeledIm"),
        ({"kind": "symetric"}, "unknown noise kind 'symetric'.*Did you mean 'symmetric'"),
        ({"rate": 1.5}, "rate must be a number in 0..1, not 1.5"),
        ({"rate": float("nan")}, "rate must be a number"),
        ({"n_classes": 1}, "n_classes must be an integer in 2..inf, not 1"),
        ({"labels": [0, 9]}, r"expected indices 0..2, but got 0..9"),
        ({"labels": [0, -2]}, r"expected indices 0..2, but got -2..0"),
        ({"labels": ["a"]}, "expected integer class indices"),
        ({"random_state": -1}, "random_state must be at least 0"),
    ],
)
def test_bad_arguments(change, text):
    arguments = {"labels": [0, 1], "n_classes": 3, "kind": "symmetric", "rate": 0.5}
    arguments |= {"random_state": 0, **change}
    with pytest.raises(InputError, match=text):
        inject_noise(arguments.pop("labels"), arguments.pop("n_classes"), **arguments)
