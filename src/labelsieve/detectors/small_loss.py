"""Small loss: after a short training, clean labels are those that are easy to fit."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..backbones import AbstractBackbone
from ..core.arrays import chunks, zeros
from ..core.validation import BoolArray, FloatArray, check_number
from ..losses import make_loss
from ..prompts import TextClassifier
from ..selection.loss_mixture import (
    clean_probability_from_losses,
    shift_to_rate,
    shifted,
)
from ..tuners.coop import CoOp
from ..tuners.inputs import FitData
from .base import AbstractDetector, Detection
from .scorers import SmallLossScorer, midway, small_loss_score


class SmallLoss(AbstractDetector):
    """Tune prompts briefly with cross-entropy, then split the losses with a Gaussian mixture.

    The mixture of DivideMix (Li et al., ICLR 2020) over the losses of a prompt-tuned CLIP. The
    label score is the posterior of the small-loss component; below 0.5 it is an issue. The noise
    rate need not be known.

    Parameters
    ----------
    backbone : str or AbstractBackbone
        Hub id, directory, or a loaded model.
    class_names : sequence of str, optional
        Needed when fitted to features.
    loss : str
        Loss of the warm-up and of the mixture.
    noise_rate : float, optional
        The known share of wrong labels, in 0..1: as many are issues, and `p_clean` has the
        mean 1 - noise_rate. Unset, the mixture decides.
    shots : int, optional
        Images a class that the warm-up sees; unset, all. What judges is the loss of every image.
    epochs, batch_size, lr
        Of the warm-up; see `TrainingPlan`. An unset lr follows `default_plan`.
    random_state : int
        Decides the order of samples and the mixture's start.

    Examples
    --------
    >>> detector = SmallLoss("mini-glyph", epochs=3)
    """

    def __init__(
        self,
        backbone: str | AbstractBackbone = "openai/clip-vit-base-patch16",
        *,
        class_names: Sequence[str] | None = None,
        loss: str = "ce",
        noise_rate: float | None = None,
        shots: int | None = None,
        epochs: int = 5,
        batch_size: int = 128,
        lr: float | None = None,
        random_state: int = 0,
    ):
        self.backbone = backbone
        self.class_names = class_names
        self.loss = loss
        self.noise_rate = noise_rate
        self.shots = shots
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.random_state = random_state

    def check(self) -> None:
        """Raise `InputError` for arguments that no data can make usable; `fit` calls it first."""
        super().check()
        if self.noise_rate is not None:
            check_number(self.noise_rate, name="noise_rate", low=0, high=1)

    def _detect(
        self, data: FitData, backbone: AbstractBackbone, checkpoint: Path | None
    ) -> Detection:
        tuner = CoOp(
            backbone,
            loss=self.loss,
            shots=self.shots,
            epochs=self.epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            random_state=self.random_state,
        )
        classifier = tuner.fit_usable(data, backbone, checkpoint).classifier_
        losses, p = self._losses(classifier, data)
        p_clean = clean_probability_from_losses(losses, random_state=self.random_state)
        # The posterior saturates; the probability of the given label orders what it ties.
        tie_break = p[np.arange(len(p)), data.labels]
        score = small_loss_score(p_clean, tie_break)
        if self.noise_rate is None:
            self.scorer_ = self._scorer(classifier, losses, p_clean, p_clean < 0.5)
            return Detection(score, p_clean < 0.5, p, p_clean)
        shift = shift_to_rate(p_clean, self.noise_rate)
        largest = np.argsort(-losses, kind="stable")[: round(self.noise_rate * len(losses))]
        flagged = np.zeros(len(losses), dtype=bool)
        flagged[largest] = True
        self.scorer_ = self._scorer(classifier, losses, p_clean, flagged, shift)
        return Detection(score, flagged, p, shifted(p_clean, shift))

    def _scorer(
        self,
        classifier: TextClassifier,
        losses: FloatArray,
        p_clean: FloatArray,
        flagged: BoolArray,
        shift: float | None = None,
    ) -> SmallLossScorer:
        order = np.argsort(losses, kind="stable")
        cut = midway(losses, flagged, default=-np.inf if flagged.all() else np.inf)
        return SmallLossScorer(classifier, self.loss, losses[order], p_clean[order], cut, shift)

    def _losses(self, classifier: TextClassifier, data: FitData) -> tuple[FloatArray, FloatArray]:
        """Losses (N,) and class probabilities (N, K) of all rows, a chunk at a time."""
        loss, losses = make_loss(self.loss), np.empty(len(data.labels), dtype=np.float32)
        p = zeros((len(losses), data.n_classes))
        for rows in chunks(*p.shape):
            logits = classifier.logits(torch.as_tensor(data.features[rows]))
            losses[rows] = loss(logits, torch.as_tensor(data.labels[rows])).numpy()
            p[rows] = logits.softmax(dim=1).numpy()
        return losses, p
