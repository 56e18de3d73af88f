"""Few-shot noise: exact counts, balanced names, no image twice, and rules for small classes."""

import numpy as np
import pytest

from labelsieve.core.exceptions import InputError
from labelsieve.data.few_shot_noise import few_shot_noisy, wrong_ranks

TRUE = np.repeat(np.arange(7), 40)[np.random.default_rng(0).permutation(280)]


def logits_for(true, n_classes=7, seed=1):
    return np.random.default_rng(seed).normal(size=(len(true), n_classes))


def wrong(drawn, true=TRUE):
    return true[drawn.rows] != drawn.labels


@pytest.mark.parametrize("n_wrong", [0, 2, 4, 8, 16])
@pytest.mark.parametrize("kind", ["symmetric", "confusion"])
def test_every_name_has_exactly_its_shots_and_its_wrong_ones(kind, n_wrong):
    confusions = logits_for(TRUE) if kind == "confusion" else None
    drawn = few_shot_noisy(TRUE, 16, n_wrong, kind=kind, confusions=confusions, random_state=0)
    assert np.bincount(drawn.labels).tolist() == [16] * 7
    assert np.bincount(drawn.labels[wrong(drawn)], minlength=7).tolist() == [n_wrong] * 7
    assert drawn.n_wrong == 7 * n_wrong
    assert (np.diff(drawn.rows) > 0).all()  # ascending, so none twice and none under two names


def test_the_seed_decides():
    def rows(seed):
        drawn = few_shot_noisy(TRUE, random_state=seed)
        return [*drawn.rows.tolist(), *drawn.labels.tolist()]

    assert rows(3) == rows(3)
    assert rows(3) != rows(4)
    state = np.random.get_state()[1].tolist()  # noqa: NPY002  (the global state must not move)
    rows(0)
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002


def test_symmetric_outsiders_come_from_every_other_class_alike():
    true = np.repeat(np.arange(4), 50)
    counts = np.zeros((4, 4))
    for seed in range(300):
        drawn = few_shot_noisy(true, 8, 4, random_state=seed)
        np.add.at(counts, (true[drawn.rows], drawn.labels), 1)
    off = counts[~np.eye(4, dtype=bool)]
    assert np.diag(counts).tolist() == [1200.0] * 4
    assert off.sum() == 4800
    assert abs(off / 400 - 1).max() < 0.15  # 400 expected each, standard deviation below 20


def test_confusion_takes_the_favoured_wrong_class():
    logits = logits_for(TRUE)
    logits[np.arange(280), TRUE] += 5  # the model is right, and its second choice decides
    drawn = few_shot_noisy(TRUE, 16, 2, kind="confusion", confusions=logits, random_state=0)
    masked = logits.copy()
    masked[np.arange(280), TRUE] = -np.inf
    picked = drawn.rows[wrong(drawn)]
    assert (drawn.labels[wrong(drawn)] == masked.argmax(axis=1)[picked]).all()
    assert drawn.notes == ()
    named = masked.argmax(axis=1)
    again = few_shot_noisy(TRUE, 16, 2, kind="confusion", confusions=named, random_state=0)
    assert (again.rows == drawn.rows).all()
    assert (again.labels == drawn.labels).all()


def test_confusions_are_stretched_to_exact_counts_and_told():
    logits = logits_for(TRUE)
    logits[:, 3] -= 100  # nobody favours class 3
    drawn = few_shot_noisy(TRUE, 16, 4, kind="confusion", confusions=logits, random_state=0)
    assert np.bincount(drawn.labels[wrong(drawn)]).tolist() == [4] * 7
    assert drawn.notes == (
        "4 of 28 wrong shots are not the first choice among the wrong classes, since too few "
        "images are",
    )


def test_wrong_ranks_against_a_loop():
    logits = logits_for(TRUE[:20])
    ranks = wrong_ranks(TRUE[:20], logits)
    for i, true in enumerate(TRUE[:20]):
        others = sorted((k for k in range(7) if k != true), key=lambda k: -logits[i, k])
        assert [ranks[i, k] for k in others] == list(range(6))
        assert ranks[i, true] == 6


def test_small_classes_keep_the_rate():
    true = np.array([0] * 40 + [1] * 40 + [2] * 6)
    drawn = few_shot_noisy(true, 16, 4, random_state=0)
    assert np.bincount(drawn.labels).tolist() == [16, 16, 8]  # 6 own, 6 * 4 / 12 = 2 outsiders
    assert np.bincount(drawn.labels[wrong(drawn, true)]).tolist() == [4, 4, 2]
    assert "1 of 3 classes have too few images for 16 shots" in drawn.notes[0]


@pytest.mark.parametrize("seed", range(20))
def test_just_enough_images_are_enough(seed):
    """16 images a class: every image is used, and no class is left with its own outsiders."""
    true = np.repeat(np.arange(3), 16)
    drawn = few_shot_noisy(true, 16, 8, random_state=seed)
    assert drawn.rows.tolist() == list(range(48))
    assert np.bincount(drawn.labels[wrong(drawn, true)]).tolist() == [8] * 3
    assert drawn.notes == ()


def test_too_few_left_over_is_told():
    true = np.repeat(np.arange(2), 13)
    drawn = few_shot_noisy(true, 16, 4, random_state=0)
    assert drawn.n_wrong == 2
    assert "only 2 of 8 wrong shots could be drawn" in drawn.notes[-1]


def test_missing_labels_are_never_drawn():
    true = TRUE.copy()
    true[:50] = -1
    drawn = few_shot_noisy(true, 8, 4, random_state=0)
    assert drawn.rows.min() >= 50
    assert len(drawn.rows) == 56


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"shots": 0}, "shots must be an integer in 1"),
        ({"n_wrong": 17}, "n_wrong must be an integer in 0..16, not 17"),
        ({"kind": "confused"}, "choose one of symmetric, confusion"),
        ({"kind": "confusion"}, "needs confusions"),
        ({"confusions": TRUE}, "does not take confusions"),
        ({"kind": "confusion", "confusions": TRUE[:3]}, r"expected shape \(280, 7\) or \(280,\)"),
        ({"kind": "confusion", "confusions": np.full((280, 7), np.nan)}, "NaN or infinite"),
        ({"n_classes": 3}, "expected indices 0..2"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(InputError, match=message):
        few_shot_noisy(TRUE, **arguments, random_state=0)
    with pytest.raises(InputError, match="expected integer class indices"):
        few_shot_noisy(["a", "b"], random_state=0)
    with pytest.raises(InputError, match="none of the 3 images has one"):  # no empty data set
        few_shot_noisy([-1, -1, -1], random_state=0)
