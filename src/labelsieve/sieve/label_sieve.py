"""`LabelSieve`: images in; label issues and a robust classifier out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

from ..backbones import (
    AbstractBackbone,
    FeatureCache,
    ImageFeatures,
    extract_features,
    load_backbone,
)
from ..core.fitted import as_before_on_failure
from ..core.validation import IntArray
from ..data import LabeledImages, load_images
from ..detectors import DETECTORS, AbstractDetector
from ..detectors.registry import DEFAULT_DETECTOR
from ..tuners import TUNERS, AbstractTuner
from .build import build_estimator
from .decisions import Decisions, HeldLabels, hold
from .held import fit_held
from .self_check import self_check
from .summary import noise_matrix, summarize


class LabelSieve(BaseEstimator):
    """Find wrong labels and fit a classifier that they do not harm.

    Features are extracted once (and cached on disk), a detector judges the given labels, and a
    tuner is fitted to the labels that pass.

    Parameters
    ----------
    model : str or AbstractBackbone
        Hub id (the default is OpenAI's CLIP ViT-B/16), a directory, or "mini-glyph" (shipped).
    detector : str
        A name from `DETECTORS`.
    detector_params : dict, optional
        Constructor arguments of the detector.
    tuner : str, optional
        A name from `TUNERS`. Left out, the classifier that the detector has learned (dual prompts
        learn one, with the image encoder that they adapted), else "coop".
    tuner_params : dict, optional
        Constructor arguments of the tuner. Left out, "coop" minimises cross-entropy here: the
        labels that it sees have passed the sieve, and robust losses would learn less from them.
    device, dtype : str
        See `resolve_device` and `resolve_dtype`.
    offline : bool
        Do not ask the hub.
    random_state : int
        Decides everything random.

    Attributes
    ----------
    issues_ : LabelIssues
        One row an image, input order; ``issues_.worst()`` is worst first.
    classifier_ : AbstractTuner
        Predicts images or features, saves and loads.
    kept_labels_ : ndarray of int64, shape (N,)
        Given labels, -1 where they look wrong: what the classifier was fitted to. Labels that
        people decided stand in their place.
    held_ : HeldLabels or None
        The decisions by row.
    summary_ : dict
        Counts, estimated noise rate, per-class and per-pair figures.
    noise_matrix_ : ndarray, shape (K, K)
        Estimated P(given | true), rows are true classes.
    timings_ : dict of str to float
        Seconds of each stage.

    Examples
    --------
    >>> sieve = LabelSieve("mini-glyph", detector="label-match")
    >>> sieve.fit("photos/").issues_.worst(10)  # doctest: +SKIP
    """

    def __init__(
        self,
        model: str | AbstractBackbone = "openai/clip-vit-base-patch16",
        *,
        detector: str = DEFAULT_DETECTOR,
        detector_params: dict[str, Any] | None = None,
        tuner: str | None = None,
        tuner_params: dict[str, Any] | None = None,
        device: str = "auto",
        dtype: str = "auto",
        offline: bool = False,
        random_state: int = 0,
    ):
        self.model = model
        self.detector = detector
        self.detector_params = detector_params
        self.tuner = tuner
        self.tuner_params = tuner_params
        self.device = device
        self.dtype = dtype
        self.offline = offline
        self.random_state = random_state

    def fit(
        self,
        images: Any,
        y: None = None,
        *,
        workspace: Path | None = None,
        decisions: Decisions | None = None,
        features: ImageFeatures | None = None,
    ) -> LabelSieve:
        """Run the pipeline on images (anything that `load_images` reads).

        Parameters
        ----------
        images : LabeledImages, str or Path
            The data set with its given labels.
        y : None
            Ignored; labels come with the images.
        workspace : Path, optional
            Folder for checkpoints, so that an interrupted fit resumes.
        decisions : Decisions, optional
            What people decided about labels of `images`; confirmed labels are held fixed.
        features : ImageFeatures, optional
            Of `images` and the model, where they were extracted already.

        Returns
        -------
        self

        Raises
        ------
        InputError
            If the data, a name or a parameter cannot be used, or decisions are of other data.
        """
        with as_before_on_failure(self):
            self._run(images, workspace, decisions, features)
        return self

    def _run(
        self,
        images: Any,
        workspace: Path | None,
        decisions: Decisions | None,
        features: ImageFeatures | None,
    ) -> None:
        """The stages of `fit`."""
        self.timings_: dict[str, float] = {}
        # Built first: a wrong name or argument should not cost an extraction.
        self.detector_: AbstractDetector = build_estimator(
            DETECTORS, self.detector, self.detector_params, self.random_state
        )
        name = self.tuner or "coop"
        tuner: AbstractTuner = build_estimator(
            TUNERS, name, self._tuner_params(name), self.random_state
        )
        images = load_images(images)
        self.held_: HeldLabels | None = None if decisions is None else hold(decisions, images)
        with self._timed("load_model"):
            self.backbone_ = load_backbone(
                self.model, device=self.device, dtype=self.dtype, offline=self.offline
            )
        with self._timed("extract_features"):
            if features is None:
                features = extract_features(images, self.backbone_, cache=FeatureCache())
        self.features_ = features
        with self._timed("detect"):
            self.detector_.set_params(backbone=self.backbone_)
            checkpoint = _below(workspace, "detector")
            if self.held_ is None:
                self.detector_.fit(features, images, checkpoint=checkpoint)
            else:
                fit_held(self.detector_, features, images, self.held_, checkpoint=checkpoint)
        self.issues_ = self.detector_.issues_
        self.kept_labels_: IntArray = self._keep(images)
        with self._timed("tune"):
            self.classifier_: AbstractTuner = self._tuned(tuner, features, images, workspace)
        self.noise_matrix_ = noise_matrix(self.detector_, images.given_labels, self.held_)
        self.summary_ = summarize(self.detector_, images, self.noise_matrix_, self.held_)

    def rehearse(self, images: LabeledImages, rate: float) -> dict[str, Any]:
        """Flip a share of the given labels and count what a detector of the same kind finds.

        Parameters
        ----------
        images : LabeledImages
            Those of `fit`.
        rate : float
            Share of labels to flip.

        Returns
        -------
        dict
            See `self_check`.

        Raises
        ------
        InputError
            If the rate is out of range or flips nothing.
        """
        detector: AbstractDetector = build_estimator(
            DETECTORS, self.detector, self.detector_params, self.random_state
        )
        detector.set_params(backbone=self.backbone_)
        matrix, seed = self.noise_matrix_, self.random_state
        with self._timed("self_check"):
            return self_check(
                detector, self.features_, images, matrix, rate=rate, random_state=seed
            )

    def _tuned(
        self, tuner: AbstractTuner, features: Any, images: LabeledImages, workspace: Path | None
    ) -> AbstractTuner:
        """The detector's own classifier, or the tuner fitted to the labels that passed."""
        learned = getattr(self.detector_, "classifier_", None)
        if self.tuner is None and learned is not None:
            return learned
        tuner.set_params(backbone=self.backbone_)
        kept = images.with_labels(self.kept_labels_)
        return tuner.fit(features, kept, checkpoint=_below(workspace, "tuner"))

    def _tuner_params(self, name: str) -> dict[str, Any] | None:
        """The given arguments, or those for labels that have passed the sieve."""
        if self.tuner_params is None and name == "coop":
            return {"loss": "ce"}
        return self.tuner_params

    def _keep(self, images: LabeledImages) -> IntArray:
        """Given labels with -1 where they look wrong, unless that empties a class.

        What people decided stands in place of the given labels, and is never brought back.
        """
        given, issue = images.given_labels, self.detector_.is_label_issue_
        if self.held_ is not None:
            issue = issue & ~self.held_.decided
            given = self.held_.training_labels(given)
        kept = np.where(issue, -1, given)
        emptied = np.setdiff1d(given[given >= 0], kept[kept >= 0])
        return np.where(np.isin(given, emptied), given, kept)

    @contextmanager
    def _timed(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.timings_[stage] = round(time.perf_counter() - started, 3)


def _below(folder: Path | None, name: str) -> Path | None:
    return None if folder is None else folder / name
