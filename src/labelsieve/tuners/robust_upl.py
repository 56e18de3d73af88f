"""Robust UPL: prompts tuned on the model's own predictions, without labels (PTNL, ICCV 2023)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..backbones import AbstractBackbone, load_backbone
from ..core.exceptions import InputError
from ..core.random import numpy_generator
from ..core.validation import FloatArray, IntArray, check_choice, check_number
from ..prompts import TextClassifier, zero_shot_classifier
from ..selection.pseudo_labels import most_confident
from .base import AbstractTuner
from .coop import CoOp
from .inputs import FitData, image_features

log = logging.getLogger(__name__)

SELECTIONS = ("random", "confident")


class RobustUPL(AbstractTuner):
    """Unsupervised prompt tuning that takes zero-shot predictions for noisy labels.

    Each predicted class gives `shots` images. UPL (Huang et al., 2022) takes the most confident;
    Wu et al. (ICCV 2023) find that random ones, noisier but more diverse, are better once the loss
    is robust (generalized cross-entropy). Given labels are never looked at.

    Parameters
    ----------
    backbone : str or AbstractBackbone
        Hub id, directory, or a loaded model; it is the one that is tuned.
    class_names : sequence of str, optional
        Needed when fitted to features.
    templates : str or sequence of str
        Of the zero-shot predictions; see `ZeroShot`.
    extra_backbones : sequence of str or AbstractBackbone
        Further models whose zero-shot logits are averaged with those of `backbone` before
        predictions are taken; needs images.
    selection : {"random", "confident"}
        Which images of a predicted class are taken.
    shots : int
        How many of them; all where there are fewer.
    n_members : int
        Prompts that are tuned, each with its own draw of images (if random), context and order;
        their logits are averaged.
    loss : str
        A name from `losses.LOSSES`.
    loss_params : dict, optional
        Parameters of the loss; q = 0.7 for ``gce`` unless given.
    initial_text, n_context
        Start of each context; see `CoOp`.
    epochs, batch_size, lr : optional
        See `TrainingPlan`; unset, they follow `default_plan` for few shots.
    momentum, weight_decay, warmup_epochs, precision
        See `TrainingPlan`.
    random_state : int
        Decides the seeds of the members.

    Attributes
    ----------
    classifier_ : TextClassifier
        Its weights are the mean of the members' text features, which gives the mean of their
        logits; the rows are therefore shorter than 1.
    pseudo_labels_ : ndarray of int64, shape (N,)
        Zero-shot predictions for the usable rows (not saved).
    context_ : Tensor
        The learned contexts, (n_members, M, d).

    Examples
    --------
    >>> tuner = RobustUPL("mini-glyph", class_names=["one", "two"], n_members=4)
    """

    needs_labels = False

    def __init__(
        self,
        backbone: str | AbstractBackbone = "openai/clip-vit-base-patch16",
        *,
        class_names: Sequence[str] | None = None,
        templates: str | Sequence[str] = "default",
        extra_backbones: Sequence[str | AbstractBackbone] = (),
        selection: str = "random",
        shots: int = 16,
        n_members: int = 4,
        loss: str = "gce",
        loss_params: dict[str, Any] | None = None,
        initial_text: str | None = "a photo of a",
        n_context: int = 16,
        epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        warmup_epochs: int = 1,
        precision: str = "float32",
        random_state: int = 0,
    ):
        self.backbone = backbone
        self.class_names = class_names
        self.templates = templates
        self.extra_backbones = extra_backbones
        self.selection = selection
        self.shots = shots
        self.n_members = n_members
        self.loss = loss
        self.loss_params = loss_params
        self.initial_text = initial_text
        self.n_context = n_context
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.warmup_epochs = warmup_epochs
        self.precision = precision
        self.random_state = random_state

    def check(self) -> None:
        """Raise `InputError` for arguments that no data can make usable; `fit` calls it first."""
        super().check()
        check_choice(self.selection, SELECTIONS, name="selection")
        check_number(self.shots, name="shots", low=1, integer=True)
        check_number(self.n_members, name="n_members", low=1, integer=True)

    def _fit(
        self, data: FitData, backbone: AbstractBackbone, checkpoint: Path | None
    ) -> TextClassifier:
        data = self._pseudo_labelled(data, backbone)
        members = []
        seeds = numpy_generator(self.random_state).integers(2**31 - 1, size=self.n_members)
        for number, seed in enumerate(seeds.tolist()):
            folder = None if checkpoint is None else checkpoint / f"member-{number}"
            members.append(self._member(seed).fit_usable(data, backbone, folder))
            records = members[-1].history_
            self.history_ += [{**record, "member": number} for record in records]
        self.context_ = torch.stack([member.context_ for member in members])
        weights = torch.stack([member.classifier_.weights for member in members]).mean(dim=0)
        return replace(members[0].classifier_, weights=weights)

    def _pseudo_labelled(self, data: FitData, backbone: AbstractBackbone) -> FitData:
        """The rows that members draw from, with zero-shot predictions for labels."""
        logits = self._logits(data, backbone)
        labels = logits.argmax(axis=1)
        self.pseudo_labels_: IntArray = labels
        _tell_of_missing(labels, data.class_names)
        data = replace(data, labels=labels)
        if self.selection == "random":
            return data
        return data.subset(most_confident(logits, self.shots))

    def _logits(self, data: FitData, backbone: AbstractBackbone) -> FloatArray:
        """Zero-shot logits (N, K), averaged over the backbones."""
        if self.extra_backbones and data.images is None:
            raise InputError(
                "extra_backbones need images to encode, but features were given; pass images, or "
                "leave extra_backbones out"
            )
        total = _zero_shot_logits(data.features, data, backbone, self.templates)
        for extra in self.extra_backbones:
            other = load_backbone(extra, device=str(backbone.device))
            features = image_features(data.images, other).features
            total = total + _zero_shot_logits(features, data, other, self.templates)
        return total / (1 + len(self.extra_backbones))

    def _member(self, seed: int) -> CoOp:
        default = {"q": 0.7} if self.loss == "gce" else {}
        shared = ("shots", "initial_text", "n_context", "epochs", "batch_size", "lr")
        shared += ("momentum", "weight_decay", "warmup_epochs", "precision", "loss")
        return CoOp(
            loss_params=default | (self.loss_params or {}),
            random_state=seed,
            **{name: getattr(self, name) for name in shared},
        )

    def _tensors(self) -> dict[str, torch.Tensor]:
        return {**super()._tensors(), "context": self.context_}

    def _config(self) -> dict[str, Any]:
        config = super()._config()
        extras = [getattr(extra, "origin", extra) for extra in self.extra_backbones]
        config["params"]["extra_backbones"] = [str(extra) for extra in extras]
        return config


def _zero_shot_logits(
    features: Any, data: FitData, backbone: AbstractBackbone, templates: str | Sequence[str]
) -> FloatArray:
    classifier = zero_shot_classifier(backbone, data.prompt_names, templates)
    rows = torch.as_tensor(features, device=backbone.device)
    return classifier.logits(rows).cpu().numpy()


def _tell_of_missing(labels: IntArray, class_names: Sequence[str]) -> None:
    counts = np.bincount(labels, minlength=len(class_names))
    log.info("zero-shot predictions a class: %d to %d", counts.min(), counts.max())
    missing = [class_names[int(k)] for k in np.flatnonzero(counts == 0)]
    if missing:
        log.warning(
            "%d of %d classes are never predicted and get no images to tune on; they stay classes "
            "of the classifier: %s",
            len(missing),
            len(class_names),
            ", ".join(missing[:10]) + (", …" if len(missing) > 10 else ""),
        )
