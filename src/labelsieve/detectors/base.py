"""The contract of detectors: fit to given labels, say which are wrong."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from sklearn.base import BaseEstimator

from ..backbones import AbstractBackbone, ImageFeatures, load_backbone
from ..core.arrays import chunks, probabilities
from ..core.device import own_defaults
from ..core.exceptions import InputError
from ..core.fitted import as_before_on_failure
from ..core.validation import BoolArray, FloatArray, IntArray
from ..data import LabeledImages
from ..prompts import zero_shot_classifier
from ..tuners.checks import check_arguments
from ..tuners.inputs import FitData, fit_data, image_features, labelled
from .issues import LabelIssues, best_other_class, build_issues


@dataclass(frozen=True)
class Detection:
    """What a detector says of the usable rows.

    Attributes
    ----------
    label_score : ndarray, shape (N,)
        In 0..1, LOWER = worse.
    is_label_issue : ndarray of bool, shape (N,)
        Which labels look wrong.
    probabilities : ndarray, shape (N, K)
        Class probabilities, from which the prediction and the suggestion are taken.
    p_clean : ndarray, shape (N,), optional
        Probability that the given label is right, where the detector has one.
    fits_no_class : ndarray of bool, shape (N,), optional
        Issues whose image seems to belong to none of the classes.
    """

    label_score: FloatArray
    is_label_issue: BoolArray
    probabilities: FloatArray
    p_clean: FloatArray | None = None
    fits_no_class: BoolArray | None = None


class Scorer(Protocol):
    """What a fitted detector has learned, small enough to send to workers."""

    def __call__(self, features: FloatArray, labels: IntArray) -> Detection:
        """Judge rows that the detector was not fitted to.

        Parameters
        ----------
        features : ndarray of float32, shape (N, D)
        labels : ndarray of int64, shape (N,)
            Given labels.
        """
        ...


class AbstractDetector(BaseEstimator):
    """Base of all detectors. Subclasses state their arguments and define `_detect`.

    True labels never reach a detector: it sees images, given labels and class names.

    Attributes
    ----------
    label_score_ : ndarray of float64, shape (N,)
        In 0..1, LOWER = worse; NaN in rows that cannot be read or carry no label.
    is_label_issue_ : ndarray of bool, shape (N,)
        Which given labels look wrong.
    suggested_label_ : ndarray of int64, shape (N,)
        Class index for each issue, -1 elsewhere and where no class fits.
    fits_no_class_ : ndarray of bool, shape (N,)
        Issues whose image seems to belong to none of the classes.
    probabilities_ : ndarray, shape (N, K)
        Class probabilities; in a file, as float32, where they are many (see `core.arrays`).
    p_clean_ : ndarray of float64, shape (N,)
        Probability that the given label is right; NaN where the detector has none.
    issues_ : LabelIssues
        All of it as a table.
    """

    backbone: str | AbstractBackbone
    class_names: Sequence[str] | None
    scorer_: Scorer | None = None
    """What judges further rows, set by `_detect` where the method can."""

    def score_features(self, features: FloatArray, labels: IntArray) -> Detection:
        """Judge rows that the fitted detector has not seen, each by itself.

        Parameters
        ----------
        features : ndarray of float32, shape (N, D)
            Rows of length 1.
        labels : ndarray of int64, shape (N,)
            Given labels, none missing.

        Raises
        ------
        InputError
            If the method can only judge the rows it is fitted to.
        """
        if self.scorer_ is None:
            raise InputError(
                f"the detector {self.name} judges only the rows that it is fitted to; "
                "use latent-label, label-match, small-loss or dual-prompts for further rows"
            )
        return self.scorer_(features, labels)

    @own_defaults()
    def fit(self, X: Any, y: Any = None, *, checkpoint: Path | None = None) -> Any:
        """Judge the given labels of images, or of features (N, D) with class indices (N,).

        Parameters
        ----------
        X : LabeledImages, ImageFeatures or array of shape (N, D)
            Images or features.
        y : array of int or LabeledImages, optional
            Given labels, -1 where one is missing; by default those of the images.
        checkpoint : Path, optional
            Folder in which training keeps its state, to resume after an interruption.

        Returns
        -------
        self

        Raises
        ------
        InputError
            If the data or the parameters cannot be used.
        """
        self.check()
        backbone = load_backbone(self.backbone)
        found = image_features(X, backbone)
        named = labelled(X, y, self.class_names)
        data = fit_data(found, named, backbone, self.class_names)
        with as_before_on_failure(self):
            self._fit(data, backbone, checkpoint, found, named)
        return self

    def _fit(
        self,
        data: FitData,
        backbone: AbstractBackbone,
        checkpoint: Path | None,
        found: ImageFeatures,
        named: LabeledImages | IntArray,
    ) -> None:
        """Judge the usable rows and set the fitted attributes over all rows."""
        result = self._detect(data, backbone, checkpoint)
        self._scatter(result, data)
        if isinstance(named, LabeledImages):
            ids, files, given = named.ids, named.file_names, named.given_labels
        else:
            ids = files = [str(row) for row in range(data.n_rows)]
            given = np.asarray(named, dtype=np.int64)
        unlabeled = found.ok & (given < 0)
        if unlabeled.any():
            zero_shot = zero_shot_classifier(backbone, data.prompt_names)
            self.probabilities_[unlabeled] = zero_shot.predict_proba(found.features[unlabeled])
        self.suggested_label_: IntArray = np.where(
            self.is_label_issue_ & ~self.fits_no_class_,
            best_other_class(self.probabilities_, given),
            -1,
        )
        self.class_names_ = data.class_names
        self.issues_: LabelIssues = build_issues(
            ids=ids,
            file_names=files,
            given_labels=given,
            class_names=data.class_names,
            label_score=self.label_score_,
            is_label_issue=self.is_label_issue_,
            probabilities=self.probabilities_,
            p_clean=self.p_clean_,
            fits_no_class=self.fits_no_class_,
            detector=self.name,
            errors=data.errors,
        )

    def check(self) -> None:
        """Raise `InputError` for arguments that no data can make usable; `fit` calls it first."""
        check_arguments(self)

    @abstractmethod
    def _detect(
        self, data: FitData, backbone: AbstractBackbone, checkpoint: Path | None
    ) -> Detection:
        """Judge the usable rows."""

    def _scatter(self, result: Detection, data: FitData) -> None:
        """Spread the judgement of the usable rows over all input rows."""
        n, k = data.n_rows, data.n_classes
        self.label_score_: FloatArray = np.full(n, np.nan)
        self.p_clean_: FloatArray = np.full(n, np.nan)
        self.is_label_issue_: BoolArray = np.zeros(n, dtype=bool)
        self.probabilities_: FloatArray = result.probabilities
        if len(data.rows) < n:
            self.probabilities_ = probabilities(n, k)
            self.probabilities_[~np.isin(np.arange(n), data.rows)] = np.nan
            for part in chunks(len(data.rows), k):
                self.probabilities_[data.rows[part]] = result.probabilities[part]
        self.label_score_[data.rows] = result.label_score
        self.is_label_issue_[data.rows] = result.is_label_issue
        self.fits_no_class_: BoolArray = np.zeros(n, dtype=bool)
        if result.fits_no_class is not None:
            self.fits_no_class_[data.rows] = result.fits_no_class & result.is_label_issue
        if result.p_clean is not None:
            self.p_clean_[data.rows] = result.p_clean

    @property
    def name(self) -> str:
        """The name under which this detector is registered."""
        from .registry import DETECTORS

        path = f"{type(self).__module__}:{type(self).__name__}"
        return next((n for n, p in DETECTORS.entries.items() if p == path), type(self).__name__)
