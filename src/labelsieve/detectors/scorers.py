"""Fitted detectors without their model: what judges further rows, each by itself."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ..core.validation import BoolArray, FloatArray, IntArray
from ..losses import make_loss
from ..prompts import TextClassifier
from ..selection.latent_model import LatentModel
from ..selection.loss_mixture import shifted
from ..selection.tempering import Tempering
from .base import Detection


@dataclass(frozen=True)
class LabelMatchScorer:
    """Zero-shot predictions against given labels; nothing was fitted."""

    classifier: TextClassifier

    def __call__(self, features: FloatArray, labels: IntArray) -> Detection:
        """See `Scorer`."""
        p = self.classifier.predict_proba(features)
        return Detection(p[np.arange(len(p)), labels], p.argmax(axis=1) != labels, p)


@dataclass(frozen=True)
class LatentLabelScorer:
    """The latent-label model with the cut that the fitted rows gave.

    Attributes
    ----------
    classifier : TextClassifier
        Zero-shot.
    model : LatentModel
    tempering : Tempering
        Of the clean probabilities.
    cut : float
        Rows whose clean probability is at most this are flagged.
    """

    classifier: TextClassifier
    model: LatentModel
    tempering: Tempering
    cut: float

    def __call__(self, features: FloatArray, labels: IntArray) -> Detection:
        """See `Scorer`."""
        logits = self.classifier.logits(torch.as_tensor(features)).numpy()
        posterior = self.model.posterior(features, labels, logits)
        p_clean = self.tempering(posterior[np.arange(len(labels)), labels])
        return Detection(p_clean, p_clean <= self.cut, posterior, p_clean)


@dataclass(frozen=True)
class SmallLossScorer:
    """Losses of a tuned classifier, with the clean probability that fitted rows of equal loss have.

    Attributes
    ----------
    classifier : TextClassifier
    loss : str
    losses, p_clean : ndarray, shape (M,)
        Of the fitted rows, by ascending loss.
    cut : float
        Rows with a larger loss are flagged.
    shift : float or None
        Of the clean probability's log-odds to a known noise rate; see `shift_to_rate`.
    """

    classifier: TextClassifier
    loss: str
    losses: FloatArray
    p_clean: FloatArray
    cut: float
    shift: float | None = None

    def __call__(self, features: FloatArray, labels: IntArray) -> Detection:
        """See `Scorer`."""
        logits = self.classifier.logits(torch.as_tensor(features))
        losses = make_loss(self.loss)(logits, torch.as_tensor(labels)).numpy()
        p = logits.softmax(dim=1).numpy()
        p_clean = np.interp(losses, self.losses, self.p_clean)
        score = small_loss_score(p_clean, p[np.arange(len(p)), labels])
        p_clean = p_clean if self.shift is None else shifted(p_clean, self.shift)
        return Detection(score, losses > self.cut, p, p_clean)


def midway(values: FloatArray, flagged: BoolArray, *, default: float) -> float:
    """A cut halfway between flagged and other values, so that rounding moves no fitted row.

    Parameters
    ----------
    values, flagged : ndarray, shape (M,)
        Of which the flagged ones are all above, or all below, the others.
    default : float
        Where all or none are flagged.

    Examples
    --------
    >>> midway(np.array([0.1, 0.4, 0.6]), np.array([True, False, False]), default=0.0)
    0.25
    """
    if flagged.all() or not flagged.any():
        return default
    low, high = values[flagged], values[~flagged]
    if low.max() > high.min():
        low, high = high, low
    return float((low.max() + high.min()) / 2)


def small_loss_score(p_clean: FloatArray, p_given: FloatArray) -> FloatArray:
    """The clean probability, which saturates, with ties ordered by the given label's own."""
    return np.clip(p_clean * (1 - 1e-6) + 1e-6 * p_given, 0, 1)


@dataclass(frozen=True)
class DualPromptScorer:
    """Positive against negative prompts; the clean probability is not calibrated here.

    Attributes
    ----------
    positive, negative : Tensor, shape (K, D)
        Scaled text features.
    agreement : bool
        See `DualPrompts`.
    """

    positive: torch.Tensor
    negative: torch.Tensor
    agreement: bool

    def __call__(self, features: FloatArray, labels: IntArray) -> Detection:
        """See `Scorer`."""
        x = torch.as_tensor(features)
        positive = x @ self.positive.T
        margins = (positive - x @ self.negative.T).double()
        margin = margins[torch.arange(len(labels)), torch.as_tensor(labels)]
        clean = margin > 0
        if self.agreement:
            clean &= margins.argmax(dim=1) == torch.as_tensor(labels)
        return Detection(
            (0.5 + 0.5 * margin / (1 + margin.abs())).numpy(),
            ~clean.numpy(),
            positive.double().softmax(dim=1).numpy(),
            fits_no_class=((margins <= 0).all(dim=1) & ~clean).numpy(),
        )
