"""What the list should hold at each cut, and the budget."""

import numpy as np
import pandas as pd
import pytest

from labelsieve.core.exceptions import InputError
from labelsieve.data import load_images
from labelsieve.sieve import LabelSieve, scan
from labelsieve.sieve.cuts import budget_figures, expected_cuts, review_order
from labelsieve.sieve.promises import promises
from problems import write_colour_tree


def test_expected_cuts_are_cumulative_sums():
    wrong = np.array([0.9, 0.6, 0.5, 0.0])
    assert expected_cuts(wrong, [1, 3, 9]) == [
        {"n": 1, "errors": 0.9, "precision": 0.9, "recall": pytest.approx(0.45)},
        {"n": 3, "errors": 2.0, "precision": pytest.approx(2 / 3), "recall": 1.0},
        {"n": 4, "errors": 2.0, "precision": 0.5, "recall": 1.0},
    ]
    assert expected_cuts(np.zeros(2), [0, 1]) == [
        {"n": 1, "errors": 0, "precision": 0, "recall": 0}
    ]
    assert expected_cuts(np.array([]), [5]) == []


@pytest.fixture
def images(tmp_path):
    return load_images(write_colour_tree(tmp_path / "photos"))


@pytest.fixture
def fitted(images, tiny_backbone):
    return LabelSieve(tiny_backbone, detector_params={"n_repeats": 1}).fit(images)


def test_the_budget_takes_the_worst_rows_and_adds_up_their_doubt(fitted):
    detector = fitted.detector_
    order = review_order(detector)
    assert (np.diff(detector.label_score_[order]) >= 0).all()
    found = budget_figures(detector, 7)
    assert found["rows"] == order[:7].tolist()
    wrong = 1 - detector.p_clean_[order]
    assert found["errors"] == pytest.approx(wrong[:7].sum())
    assert found["recall"] == pytest.approx(wrong[:7].sum() / wrong.sum())
    cuts = fitted.summary_["cuts"]
    assert [cut["n"] for cut in cuts] == sorted({cut["n"] for cut in cuts})
    with pytest.raises(InputError, match="budget must be"):
        budget_figures(detector, 0)


def test_a_scan_lists_the_budget_and_rehearses(images, tiny_backbone, tmp_path):
    sieve = LabelSieve(tiny_backbone, detector_params={"n_repeats": 1})
    scan(images, tmp_path / "out", sieve, budget=5, self_check=0.2)
    first = pd.read_csv(tmp_path / "out" / "first.csv")
    assert first["id"].tolist() == sieve.issues_.worst(5)["id"].tolist()
    check = sieve.summary_["self_check"]
    assert check["n_flipped"] == round(0.2 * (images.given_labels >= 0).sum())
    assert check["recall"] == check["n_found"] / check["n_flipped"]
    lines = promises(sieve.summary_)
    assert lines[0].startswith("the first 5 of the list (first.csv) should hold about ")
    assert lines[1].startswith(f"self-check: of {check['n_flipped']} labels flipped on purpose, ")
    scan(images, tmp_path / "out", sieve, force=True)
    assert not (tmp_path / "out" / "first.csv").exists()


def test_wrong_figures_are_refused_before_anything_is_read(images, tiny_backbone, tmp_path):
    sieve = LabelSieve(tiny_backbone)
    with pytest.raises(InputError, match="self_check must be"):
        scan(images, tmp_path / "out", sieve, self_check=1.5)
    assert not (tmp_path / "out").exists()


def test_promises_without_probabilities_promise_nothing():
    said = promises({"budget": {"n": 3, "errors": None, "precision": None, "recall": None}})
    assert said == ["first.csv lists the 3 worst; this detector cannot say more"]
    assert promises({}) == []
