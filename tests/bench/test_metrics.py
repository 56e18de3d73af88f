"""Figures of merit against hand-computed values and scikit-learn."""

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    balanced_accuracy_score,
    confusion_matrix,
    f1_score,
    roc_auc_score,
)

from labelsieve.bench.metrics import (
    classification_metrics,
    clean_set_metrics,
    detection_metrics,
    errors_found,
    expected_calibration_error,
    macro_f1,
    matrix_error,
    precision_at_budget,
    reliability,
    transition_matrix,
)


def test_detection_equals_scikit_learn():
    rng = np.random.default_rng(0)
    wrong, score = rng.random(400) < 0.3, rng.random(400)
    score = np.where(wrong, score * 0.7, score)
    flagged = score < 0.4
    got = detection_metrics(score, flagged, wrong)
    assert got["f1"] == pytest.approx(f1_score(wrong, flagged))
    assert got["average_precision"] == pytest.approx(average_precision_score(wrong, 1 - score))
    assert got["auroc"] == pytest.approx(roc_auc_score(wrong, 1 - score))
    assert got["precision"] == pytest.approx(wrong[flagged].mean())
    assert got["recall"] == pytest.approx(flagged[wrong].mean())


def test_detection_by_hand_with_an_unjudged_row():
    got = detection_metrics(
        np.array([0.1, 0.2, 0.9, np.nan]),
        np.array([True, True, False, False]),
        np.array([True, False, False, True]),
    )
    assert (got["precision"], got["recall"], got["n_wrong"]) == (0.5, 1.0, 1)
    assert got["average_precision"] == 1.0


def test_nothing_flagged_or_nothing_wrong_is_zero_not_nan():
    none = np.zeros(3, bool)
    assert detection_metrics(np.ones(3), none, ~none)["f1"] == 0.0
    got = detection_metrics(np.ones(3), ~none, none)
    assert (got["precision"], got["recall"], got["f1"]) == (0.0, 0.0, 0.0)
    assert got["average_precision"] is None


def test_calibration_error_by_hand():
    confidence = np.array([0.95, 0.95, 0.55, 0.55])
    correct = np.array([True, False, True, True])
    assert expected_calibration_error(confidence, correct) == pytest.approx(0.45)
    assert expected_calibration_error(np.ones(3), np.ones(3, bool)) == 0.0


def test_classification_by_hand_with_an_unreadable_row():
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [np.nan, np.nan]])
    got = classification_metrics(p, np.array([0, 1, 1, 0]), ("a", "b"))
    assert got["accuracy"] == 0.5
    assert [row["accuracy"] for row in got["per_class"]] == [0.5, 0.5]
    assert got["mean_class_accuracy"] == 0.5


def test_clean_set_figures_of_the_card():
    rng = np.random.default_rng(1)
    clean, kept = rng.random(300) < 0.7, rng.random(300) < 0.5
    got = clean_set_metrics(kept, clean)
    assert got["f1"] == pytest.approx(f1_score(clean, kept))
    everything = clean_set_metrics(np.ones(300, dtype=bool), clean)
    assert everything["recall"] == 1.0
    assert everything["precision"] == pytest.approx(clean.mean())
    nothing = clean_set_metrics(np.zeros(300, dtype=bool), clean)
    assert nothing == {"precision": 0.0, "recall": 0.0, "f1": 0.0}


def test_errors_found_counts_ties_with_their_mean():
    score = np.array([0.2, 0.2, 0.2, 0.2, 0.1, 0.9])
    wrong = np.array([True, False, False, False, True, False])
    got = errors_found(score, wrong)
    np.testing.assert_allclose(got, [0, 1, 1.25, 1.5, 1.75, 2, 2])
    orders = [np.random.default_rng(k).permutation(6) for k in range(20)]
    for order in orders:  # the order of the rows does not matter
        np.testing.assert_allclose(errors_found(score[order], wrong[order]), got)


def test_precision_at_budget_by_hand():
    score = np.arange(20) / 20
    wrong = np.zeros(20, bool)
    wrong[[0, 2, 19]] = True
    assert precision_at_budget(score, wrong, 0.01) == 1.0  # the single worst row
    assert precision_at_budget(score, wrong, 0.1) == 0.5
    assert precision_at_budget(score, wrong, 0.15) == pytest.approx(2 / 3)  # not 4 of 20 rows
    assert precision_at_budget(score, wrong, 1.0) == pytest.approx(wrong.mean())
    assert precision_at_budget(np.array([]), np.array([], bool), 0.1) is None


def test_reliability_gives_the_calibration_error():
    rng = np.random.default_rng(2)
    p = rng.random(500)
    outcome = rng.random(500) < p**2
    bins = np.array(reliability(p, outcome))
    assert bins[:, 2].sum() == 500
    gap = np.abs(bins[:, 0] - bins[:, 1]) @ bins[:, 2] / 500
    assert gap == pytest.approx(expected_calibration_error(p, outcome))
    shares, means = calibration_curve(outcome, p, n_bins=15)
    np.testing.assert_allclose(bins[:, :2], np.stack([means, shares], axis=1))


def test_transition_matrix_and_its_error_by_hand():
    truth, given = np.array([0, 0, 0, 0, 1, 1]), np.array([0, 0, 0, 1, 1, 0])
    actual = transition_matrix(truth, given, 3)
    np.testing.assert_allclose(actual[:2], [[0.75, 0.25, 0], [0.5, 0.5, 0]])
    assert np.isnan(actual[2]).all()
    counts = confusion_matrix(truth, given, labels=[0, 1, 2], normalize="true")
    np.testing.assert_allclose(actual[:2], counts[:2])
    got = matrix_error(np.eye(3), actual)
    assert got["total_variation"] == pytest.approx((0.25 + 0.5) / 2)
    assert got["worst_row"] == pytest.approx(0.5)
    assert got["mean_absolute"] == pytest.approx((0.5 + 1.0) / 6)
    assert matrix_error(actual, actual)["mean_absolute"] == 0.0
    assert matrix_error(np.eye(3), np.full((3, 3), np.nan))["total_variation"] is None


def test_macro_f1_and_class_accuracy_equal_scikit_learn():
    rng = np.random.default_rng(3)
    labels, p = rng.integers(5, size=300), rng.random((300, 5))
    p[np.arange(300), labels] += 0.4
    p /= p.sum(axis=1, keepdims=True)
    predicted = p.argmax(axis=1)
    got = classification_metrics(p, labels, tuple("abcde"))
    assert got["accuracy"] == pytest.approx(accuracy_score(labels, predicted))
    assert got["mean_class_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert got["macro_f1"] == pytest.approx(f1_score(labels, predicted, average="macro"))
    three = macro_f1(np.array([0, 0, -1]), np.array([0, 1, 1]), 4)  # classes 2 and 3 do not occur
    assert three == pytest.approx((2 / 3 + 0) / 2)
