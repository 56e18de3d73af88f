"""The default detector: a latent true label seen through a learned noise matrix."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..backbones import AbstractBackbone
from ..core.arrays import chunks, probabilities
from ..core.exceptions import InputError
from ..core.fitted import as_before_on_failure
from ..core.validation import FloatArray, IntArray, check_labels, check_number
from ..prompts import TextClassifier, resolve_templates, zero_shot_classifier
from ..selection.latent_labels import LatentLabels, fit_latent_labels, largest_expected_f1
from ..selection.subset import stratified_subset
from ..selection.tempering import Tempering
from ..tuners.inputs import FitData
from .base import AbstractDetector, Detection
from .scorers import LatentLabelScorer, midway

MOST_ROWS = 100_000
"""Rows beyond which a stratified subset is fitted."""
MOST_WORK = 1e10
"""The same for rows times columns times classes: with 512 columns, from 195 classes on."""

CHUNK_BYTES = 1 << 26
"""Of the rows judged at a time, of which several arrays are needed at once."""


class LatentLabel(AbstractDetector):
    """Posterior of the true label from zero-shot and out-of-fold evidence and given labels.

    The zero-shot logits, a linear correction of them on image features (fitted out of fold) and a
    noise matrix are fitted together to the given labels; see `selection.latent_labels`. The label
    score is `p_clean`, and the flagged set is the one with the largest expected F1.

    Of more than 100,000 rows, fewer where rows x columns x classes exceed 1e10, a stratified subset
    is fitted, at least 20 rows a class and all known labels in it; the model judges the other rows,
    which it has not seen either.

    Parameters
    ----------
    backbone : str or AbstractBackbone
        Hub id, directory, or a loaded model.
    class_names : sequence of str, optional
        Needed when fitted to features.
    templates : str or sequence of str
        Templates of the zero-shot logits.
    n_folds, n_repeats : int
        Folds of the out-of-fold correction, and fits with other folds that are averaged; every
        second fit is not linear.
    random_state : int
        Decides the folds.

    Attributes
    ----------
    noise_matrix_ : ndarray, shape (K, K)
        Estimated P(given | true), rows are true classes.
    known_labels_ : ndarray of int64, shape (N,), or None
        The true labels that `fit` was told.
    model_p_clean_ : ndarray of float64, shape (N,)
        `p_clean_` without the row's own known label; NaN in rows that are not judged.
    rate_logit_sd : float
        How far off the log-odds of the estimated noise rate were on label sets with a known truth
        (docs/results/honesty.md): the width of the interval around the rate.
    precision_logit_sd : float
        The same for the expected precision of the flagged set.

    Examples
    --------
    >>> detector = LatentLabel("mini-glyph", n_repeats=1)
    """

    rate_logit_sd = 0.43
    precision_logit_sd = 0.7

    def __init__(
        self,
        backbone: str | AbstractBackbone = "openai/clip-vit-base-patch16",
        *,
        class_names: Sequence[str] | None = None,
        templates: str | Sequence[str] = "default",
        n_folds: int = 5,
        n_repeats: int = 4,
        random_state: int = 0,
    ):
        self.backbone = backbone
        self.class_names = class_names
        self.templates = templates
        self.n_folds = n_folds
        self.n_repeats = n_repeats
        self.random_state = random_state

    def fit(
        self,
        X: Any,
        y: Any = None,
        *,
        checkpoint: Path | None = None,
        known_labels: IntArray | None = None,
    ) -> LatentLabel:
        """Judge the given labels; see `AbstractDetector.fit`.

        Parameters
        ----------
        X, y, checkpoint
            As for every detector.
        known_labels : ndarray of int64, shape (N,), optional
            True labels that a person has confirmed, -1 where none is known. They are observed in
            the likelihood, beside the given labels. `p_clean_` is 1 or 0 there.

        Returns
        -------
        self

        Raises
        ------
        InputError
            If the data, the parameters or the known labels cannot be used.
        """
        with as_before_on_failure(self):
            self.known_labels_ = None if known_labels is None else np.asarray(known_labels)
            return super().fit(X, y, checkpoint=checkpoint)

    def _known(self, data: FitData) -> IntArray | None:
        """The known labels of the usable rows, checked."""
        if self.known_labels_ is None:
            return None
        told = np.where(self.known_labels_ == -1, 0, self.known_labels_)
        check_labels(told, data.n_rows, data.n_classes, name="known_labels")
        return self.known_labels_[data.rows]

    def check(self) -> None:
        """Raise `InputError` for arguments that no data can make usable; `fit` calls it first."""
        super().check()
        check_number(self.n_folds, name="n_folds", low=2, integer=True)
        check_number(self.n_repeats, name="n_repeats", low=1, integer=True)

    def _detect(
        self, data: FitData, backbone: AbstractBackbone, checkpoint: Path | None
    ) -> Detection:
        if len(set(data.labels.tolist())) < 2:
            raise InputError("all given labels are of one class; at least two classes are needed")
        known = self._known(data)
        templates = resolve_templates(self.templates)
        classifier = zero_shot_classifier(backbone, data.prompt_names, templates)
        rows = self._fitted_rows(data, known)
        features = data.features if len(rows) == len(data.labels) else data.features[rows]
        found = fit_latent_labels(
            features,
            data.labels[rows],
            classifier.logits(torch.as_tensor(features)).numpy(),
            known_labels=None if known is None else known[rows],
            n_folds=self.n_folds,
            n_repeats=self.n_repeats,
            random_state=self.random_state,
        )
        posterior, alone = self._judge(data, rows, found, classifier)
        self.noise_matrix_ = found.noise_matrix
        tempering = Tempering.fit(alone)
        alone = tempering(alone)
        self.model_p_clean_: FloatArray = np.full(data.n_rows, np.nan)
        self.model_p_clean_[data.rows] = alone
        flagged = largest_expected_f1(alone)
        cut = midway(alone, flagged, default=1.0 if flagged.all() else -1.0)
        self.scorer_ = LatentLabelScorer(classifier, found.model, tempering, cut)
        if known is None:
            return Detection(alone, flagged, posterior, alone)
        flagged = np.where(known >= 0, known != data.labels, flagged)
        p_clean = np.where(known >= 0, (known == data.labels).astype(float), alone)
        return Detection(p_clean, flagged, posterior, p_clean)

    def _fitted_rows(self, data: FitData, known: IntArray | None) -> IntArray:
        """All rows, or of large data a stratified subset and those whose true label is known."""
        n, width = data.features.shape
        most = min(MOST_ROWS, int(MOST_WORK / (width * data.n_classes)))
        if n <= most:
            return np.arange(n)
        rows = stratified_subset(data.labels, most, self.random_state)
        return rows if known is None else np.union1d(rows, np.flatnonzero(known >= 0))

    def _judge(
        self, data: FitData, rows: IntArray, found: LatentLabels, classifier: TextClassifier
    ) -> tuple[FloatArray, FloatArray]:
        """Posterior (N, K), and clean probability (N,) without a row's own known label."""
        labels = data.labels
        if len(rows) == len(labels):
            return found.posterior, found.model_p_clean
        posterior, alone = probabilities(len(labels), data.n_classes), np.empty(len(labels))
        for part in chunks(len(labels), data.n_classes, CHUNK_BYTES):
            x, at = data.features[part], np.arange(part.stop - part.start)
            logits = classifier.logits(torch.as_tensor(x)).numpy()
            judged = found.model.posterior(x, labels[part], logits)
            posterior[part], alone[part] = judged, judged[at, labels[part]]
        posterior[rows], alone[rows] = found.posterior, found.model_p_clean
        return posterior, alone
