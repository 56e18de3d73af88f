"""One cell of a detector: fit it, and compare what it says with the truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..backbones import AbstractBackbone, FeatureCache, ImageFeatures, extract_features
from ..core.serialization import atomic_path
from ..data import LabeledImages
from ..detectors import AbstractDetector
from ..sieve.estimates import estimate_errors, expected, noise_rate
from ..sieve.summary import noise_matrix
from .cells import Cell
from .cost import timed
from .methods import build_method, uses_pixels
from .metrics import (
    BUDGETS,
    clean_set_metrics,
    detection_metrics,
    expected_calibration_error,
    matrix_error,
    precision_at_budget,
    reliability,
    transition_matrix,
)
from .noise_files import NoisySet


def features_of(images: LabeledImages, backbone: AbstractBackbone) -> ImageFeatures:
    """Features through the cache that all cells share."""
    return extract_features(images, backbone, cache=FeatureCache())


def measure_detector(
    cell: Cell, noisy: NoisySet, backbone: AbstractBackbone, folder: Path
) -> dict[str, Any]:
    """Fit a detector and measure it; its table of issues goes to the folder.

    Parameters
    ----------
    cell : Cell
    noisy : NoisySet
        Images, given labels and the truth.
    backbone : AbstractBackbone
    folder : Path
        Of the cell.
    """
    rate = float(noisy.is_wrong.mean())
    detector = build_method(cell.method, cell.data, seed=cell.seed, noise_rate=rate)
    detector.set_params(backbone=backbone)
    features = features_of(noisy.images, backbone)
    record: dict[str, Any] = {}
    with timed(record, "fit"):
        if uses_pixels(detector):
            detector.fit(noisy.images)
        else:
            detector.fit(features, noisy.images)
    with atomic_path(folder / "issues.parquet") as partial:
        detector.issues_.table.to_parquet(partial, index=False)
    return record | detector_metrics(detector, noisy)


def detector_metrics(detector: AbstractDetector, noisy: NoisySet) -> dict[str, Any]:
    """Every figure of merit of a fitted detector."""
    wrong, given = noisy.is_wrong, noisy.images.given_labels
    judged = ~np.isnan(detector.label_score_)
    score = detector.label_score_[judged]
    found = detection_metrics(detector.label_score_, detector.is_label_issue_, wrong)
    clean = clean_set_metrics(~detector.is_label_issue_[judged], ~wrong[judged])
    found |= {f"clean_{name}": value for name, value in clean.items()}
    for budget in BUDGETS:
        name = f"precision_at_{budget * 100:g}_percent"
        found[name] = precision_at_budget(score, wrong[judged], budget)
    correct = detector.probabilities_[judged].argmax(axis=1) == noisy.truth[judged]
    found["prediction_accuracy"] = float(correct.mean())
    return found | _calibration(detector, ~wrong, judged) | _noise_estimates(detector, noisy, given)


def _calibration(detector: AbstractDetector, clean: Any, judged: Any) -> dict[str, Any]:
    """Of the probability that a label is right; None where the detector has none."""
    p_clean = detector.p_clean_[judged]
    if not len(p_clean) or not np.isfinite(p_clean).all():
        return {"p_clean_calibration_error": None}
    return {
        "p_clean_calibration_error": expected_calibration_error(p_clean, clean[judged]),
        "p_clean_reliability": reliability(p_clean, clean[judged]),
    }


def _noise_estimates(detector: AbstractDetector, noisy: NoisySet, given: Any) -> dict[str, Any]:
    """What a scan would promise (noise rate, precision, noise matrix), against the truth."""
    found = estimate_errors(detector)
    rate, promised = noise_rate(found), expected(found)
    actual = float(noisy.is_wrong.mean())
    low, high = rate["interval"]
    n_classes = len(noisy.images.class_names)
    errors = matrix_error(
        noise_matrix(detector, given), transition_matrix(noisy.truth, given, n_classes)
    )
    return {
        "estimated_noise_rate": rate["estimate"],
        "noise_rate_error": abs(rate["estimate"] - actual),
        "noise_rate_low": low,
        "noise_rate_high": high,
        "noise_rate_covered": low <= actual <= high,
        "promised_precision": promised["precision"],
        "promised_recall": promised["recall"],
        **{f"noise_matrix_{name}": value for name, value in errors.items()},
    }
