"""One cell of a classifier: fit it to given labels, and measure it on test images."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np

from ..backbones import AbstractBackbone
from ..core.exceptions import InputError
from ..core.serialization import read_json, write_json
from ..data import LabeledImages
from ..detectors import LabelIssues
from ..sieve.adapt import adapt
from ..tuners.fine_tune import FineTune
from .cells import Cell
from .cost import timed
from .evaluate import true_labels
from .measure_detector import features_of
from .methods import build_method, uses_pixels
from .metrics import classification_metrics
from .noise_files import NoisySet
from .sources import Places, test_images


def measure_classifier(
    cell: Cell, noisy: NoisySet, backbone: AbstractBackbone, folder: Path, places: Places
) -> dict[str, Any]:
    """Fit a classifier; its state after the last epoch is measured.

    Parameters
    ----------
    cell : Cell
    noisy : NoisySet
        Images, given labels and the truth (which decides "$noise_rate" and nothing else).
    backbone : AbstractBackbone
    folder : Path
        Of the cell.
    places : Places

    Raises
    ------
    InputError
        If the suite names no test images, or the detector before it failed.
    """
    test = test_images(cell.data, places)
    if test is None:
        raise InputError(f"data {cell.data.name} has no `test`; a classifier needs test images")
    issues, record = _verdicts(cell, places)
    if cell.method.kind == "adapt":
        tuner = _adapt(cell, noisy, backbone, issues, folder, record, places)
    else:
        tuner = _tune(cell, noisy, backbone, issues, record)
    write_json(folder / "history.json", tuner.history_)
    labels = true_labels(tuner.class_names_, test)
    pixels = isinstance(tuner, FineTune) or tuner.visual_tuning_ is not None
    inputs = test if pixels else features_of(test, backbone)
    with timed(record, "predict"):
        probabilities = tuner.predict_proba(inputs)
    known = labels >= 0
    return record | classification_metrics(probabilities[known], labels[known], tuner.class_names_)


def _verdicts(cell: Cell, places: Places) -> tuple[LabelIssues | None, dict[str, Any]]:
    """What the detector before it said in its own cell, and the seconds that took."""
    if cell.after_key is None:
        return None, {}
    folder = places.results / "cells" / cell.after_key
    before = read_json(folder / "record.json")
    if before["status"] != "ok":
        raise InputError(f"{cell.method.after}, which comes before it, failed: {before['error']}")
    return LabelIssues.load(folder), {"seconds_after": before["seconds_fit"]}


def _kept(images: LabeledImages, issues: LabelIssues | None) -> LabeledImages:
    """Images without the labels that look wrong."""
    if issues is None:
        return images
    flagged = issues.table["is_label_issue"].to_numpy(dtype=bool)
    return images.with_labels(np.where(flagged, -1, images.given_labels))


def _tune(
    cell: Cell,
    noisy: NoisySet,
    backbone: AbstractBackbone,
    issues: LabelIssues | None,
    record: dict[str, Any],
) -> Any:
    """A fitted tuner."""
    rate = float(noisy.is_wrong.mean())
    tuner = build_method(cell.method, cell.data, seed=cell.seed, noise_rate=rate)
    images = _kept(noisy.images, issues)
    record["n_labels"] = int((images.given_labels >= 0).sum())
    pixels = isinstance(tuner, FineTune) or uses_pixels(tuner)
    tuner.set_params(backbone=backbone)
    features = None if pixels else features_of(images, backbone)
    with timed(record, "fit"):
        if features is None:
            tuner.fit(images)
        else:
            tuner.fit(features, images)
    return tuner


def _adapt(
    cell: Cell,
    noisy: NoisySet,
    backbone: AbstractBackbone,
    issues: LabelIssues | None,
    folder: Path,
    record: dict[str, Any],
    places: Places,
) -> Any:
    """An encoder fine-tuned as `labelsieve adapt` does it; its weights are not kept."""
    method, rate = cell.method, float(noisy.is_wrong.mean())
    params = build_method(method, cell.data, seed=cell.seed, noise_rate=rate).get_params(deep=False)
    given = {name: params[name] for name in method.params}
    with timed(record, "fit"):
        done = adapt(
            noisy.images,
            issues,
            folder / "model",
            backbone=backbone if method.backbone is None else places.path(method.backbone),
            baseline=method.method,
            relabel=method.relabel,
            params=given,
            device=str(backbone.device),
            dtype=str(backbone.dtype).removeprefix("torch."),
            offline=places.offline,
            random_state=cell.seed,
        )
    shutil.rmtree(folder / "model")
    record["n_labels"] = done.n_kept
    record["n_relabeled"] = done.n_relabeled
    return done.tuner
