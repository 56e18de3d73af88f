"""Fitting a detector while the labels that people confirmed are held fixed."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..data import LabeledImages
from ..detectors import AbstractDetector
from ..detectors.issues import LabelIssues, build_issues
from .decisions import HeldLabels


def fit_held(
    detector: AbstractDetector,
    features: Any,
    images: LabeledImages,
    held: HeldLabels,
    *,
    checkpoint: Path | None = None,
) -> None:
    """Fit a detector to given labels and decisions; the decisions have the last word.

    A detector whose `fit` takes `known_labels` sees the given labels beside the right ones. For
    every other detector the right label stands in place of the given one. Rows to be dropped are
    shown without a label to both.

    Parameters
    ----------
    detector : AbstractDetector
        Not yet fitted, its backbone set.
    features : ImageFeatures
        Of all rows.
    images : LabeledImages
        With their given labels.
    held : HeldLabels
        Decisions about `images`.
    checkpoint : Path, optional
        See `AbstractDetector.fit`.
    """
    given = images.given_labels
    if "known_labels" in inspect.signature(detector.fit).parameters:
        shown = np.where(held.dropped, -1, np.where(given < 0, held.label, given))
        known: dict[str, Any] = {"known_labels": held.label}
    else:
        shown, known = held.training_labels(given), {}
    detector.fit(features, images.with_labels(shown), checkpoint=checkpoint, **known)
    _overrule(detector, given, held)
    detector.issues_ = _issues(detector, images, held, dict(features.errors))


def _overrule(detector: AbstractDetector, given: Any, held: HeldLabels) -> None:
    """Put what is known in place of the detector's judgement: score and p_clean 1 or 0.

    Without a label or an image there is nothing to judge: who drops a broken file has found no
    wrong label.
    """
    wrong = held.wrong()
    judgeable = (given >= 0) & ~np.isnan(detector.probabilities_[:, 0])
    judged = held.decided & judgeable
    for scores in (detector.label_score_, detector.p_clean_):
        scores[judged] = ~wrong[judged]
        scores[~judgeable] = np.nan
    flagged = np.where(held.decided, wrong, detector.is_label_issue_) & judgeable
    detector.is_label_issue_ = flagged
    detector.fits_no_class_ = np.where(
        held.decided, held.dropped & flagged, detector.fits_no_class_
    )
    detector.suggested_label_ = np.where(
        held.decided, np.where(wrong, held.label, -1), detector.suggested_label_
    )


def _issues(
    detector: AbstractDetector, images: LabeledImages, held: HeldLabels, errors: dict[int, str]
) -> LabelIssues:
    """The table with the labels of the data, and the decision as the action of decided rows."""
    table = build_issues(
        ids=images.ids,
        file_names=images.file_names,
        given_labels=images.given_labels,
        class_names=images.class_names,
        label_score=detector.label_score_,
        is_label_issue=detector.is_label_issue_,
        probabilities=detector.probabilities_,
        p_clean=detector.p_clean_,
        fits_no_class=detector.fits_no_class_,
        detector=detector.name,
        errors=errors,
    ).table
    names = np.array([*images.class_names, None], dtype=object)
    suggested = names[np.where(held.wrong(), held.label, -1)]
    decided = pd.Series(held.decided)
    table["suggested_label"] = table["suggested_label"].mask(
        decided, pd.Series(suggested, dtype="string")
    )
    table["action"] = table["action"].mask(decided, pd.Series(held.action))
    return LabelIssues(table)
