"""What the list should hold at each cut, and the budget."""

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit

from labelsieve.core.exceptions import InputError
from labelsieve.data import load_images
from labelsieve.sieve import LabelSieve, scan
from labelsieve.sieve.cuts import budget_figures, expected_cuts, review_order
from labelsieve.sieve.estimates import ErrorEstimate, Z, share_interval
from labelsieve.sieve.promises import promises
from problems import write_colour_tree


def test_expected_cuts_are_cumulative_sums():
    wrong = np.array([0.9, 0.6, 0.5, 0.0])
    got = expected_cuts(wrong, [1, 3, 9])
    assert [cut["n"] for cut in got] == [1, 3, 4]
    assert [cut["errors"] for cut in got] == pytest.approx([0.9, 2.0, 2.0])
    assert [cut["precision"] for cut in got] == pytest.approx([0.9, 2 / 3, 0.5])
    assert [cut["recall"] for cut in got] == pytest.approx([0.45, 1.0, 1.0])
    assert [cut["interval"] for cut in got] == [None] * 3
    nothing = {"n": 1, "errors": 0, "precision": 0, "interval": None, "recall": 0}
    assert expected_cuts(np.zeros(2), [0, 1]) == [nothing]
    assert expected_cuts(np.array([]), [5]) == []


def test_the_interval_of_a_share_by_hand():
    """Log-odds of 0.8 plus and minus 1.645 standard deviations, to whole rows outwards."""
    wrong = np.full(100, 0.8)
    half = Z * np.sqrt(1 / (100 * 0.8 * 0.2) + 0.25)
    low, high = 100 * expit(logit(0.8) + np.array([-half, half]))
    assert share_interval(wrong, 0.5) == [np.floor(low) / 100, np.ceil(high) / 100] == [0.61, 0.91]
    low, high = 100 * expit(logit(0.8) + np.array([-1, 1]) * Z / 4)
    alone = share_interval(wrong, 1e-9)  # a sample without an error of the model
    assert alone == [np.floor(low) / 100, np.ceil(high) / 100] == [0.72, 0.86]
    assert share_interval(np.full(50, 0.99), 0.7)[1] == 1.0  # all of 50 may be wrong
    assert share_interval(np.full(50, 0.01), 0.7)[0] == 0.0
    assert share_interval(wrong, None) is None
    assert share_interval(np.array([]), 0.5) is None
    decided = share_interval(np.array([1.0, 1.0, 0.0, 0.0]), 0.5)
    assert decided == pytest.approx([0.5, 0.5])  # nothing is left to doubt


def test_what_people_decided_makes_the_model_more_certain():
    def told(information):
        corrections = {"reviewed_flagged": {"information": information}}
        none = np.zeros(2, dtype=bool)
        return ErrorEstimate(np.zeros(2), none, none, True, corrections).error_of(0.5)

    assert told(0.0) == pytest.approx(0.5)
    assert told(12.0) == pytest.approx(0.25)  # 1 / (1 / 0.25 + 12) = 0.0625


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
    low, high = found["interval"]
    assert low <= found["precision"] <= high
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
    said = promises({"budget": {"n": 3, "errors": None, "interval": None}})
    assert said == ["first.csv lists the 3 worst; this detector cannot say more"]
    assert promises({}) == []


def test_a_promise_says_how_far_off_it_may_be():
    budget = {"n": 200, "errors": 131.2, "interval": [0.5, 0.775], "recall": 0.31}
    assert promises({"budget": budget}) == [
        "the first 200 of the list (first.csv) should hold about 131 wrong labels (100 to 155), "
        "31% of all"
    ]
    assert "131 wrong labels, 31% of all" in promises({"budget": budget | {"interval": None}})[0]
