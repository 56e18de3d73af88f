"""Figures of merit against hand-computed values and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, f1_score, roc_auc_score

from labelsieve.bench.metrics import (
    classification_metrics,
    clean_set_metrics,
    detection_metrics,
    expected_calibration_error,
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
