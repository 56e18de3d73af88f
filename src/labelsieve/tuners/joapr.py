"""In the manner of JoAPR: a loss mixture splits the labels, and the noisy are refurbished."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import one_hot

from ..backbones import AbstractBackbone
from ..core.exceptions import gather
from ..core.validation import is_number
from ..prompts import PromptLearner, TextClassifier, zero_shot_classifier
from ..selection.loss_mixture import clean_probability_from_losses
from ..selection.mixture_and_refurbish import (
    clean_part,
    joint_loss,
    mixup_features,
    refurbish_labels,
    soft_cross_entropy,
)
from .base import AbstractTuner
from .inputs import FitData
from .prompt_training import AbstractPromptTraining, train_prompts

log = logging.getLogger(__name__)


class JoAPR(AbstractTuner):
    """Prompt tuning with refurbished labels, in the manner of JoAPR (Guo & Gu, CVPR 2024).

    Only the outline of the method was at hand: a two-component mixture over a joint loss, an
    adaptive threshold, refurbished labels, mixup. What fills it is ours (see the docs), so its
    figures are not those of the paper.

    Parameters
    ----------
    backbone : str or AbstractBackbone
        Hub id, directory, or a loaded model.
    class_names : sequence of str, optional
        Needed when fitted to features.
    agreement : float
        Weight of the agreement with the zero-shot prediction in the joint loss, in 0..1.
    mixup_alpha : float
        Of the Beta distribution of mixup; 0 turns it off.
    initial_text, n_context, position, class_specific, shots
        See `CoOp`.
    epochs, batch_size, lr : optional
        See `TrainingPlan`; unset, they follow `default_plan`.
    momentum, weight_decay, warmup_epochs, precision
        See `TrainingPlan`.
    random_state : int
        Decides the shots, the initial context, the order of samples, the mixture's start and mixup.

    Attributes
    ----------
    context_ : Tensor
        The learned context tokens, (M, d) or (K, M, d).
    n_clean_ : list of int
        Rows of the clean part in each epoch of this fit (a resumed one starts where it resumed).

    Examples
    --------
    >>> tuner = JoAPR("mini-glyph", shots=16, mixup_alpha=0.0)
    """

    def __init__(
        self,
        backbone: str | AbstractBackbone = "openai/clip-vit-base-patch16",
        *,
        class_names: Sequence[str] | None = None,
        agreement: float = 0.5,
        mixup_alpha: float = 0.5,
        initial_text: str | None = "a photo of a",
        n_context: int = 16,
        position: str = "end",
        class_specific: bool = False,
        shots: int | None = None,
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
        self.agreement = agreement
        self.mixup_alpha = mixup_alpha
        self.initial_text = initial_text
        self.n_context = n_context
        self.position = position
        self.class_specific = class_specific
        self.shots = shots
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.warmup_epochs = warmup_epochs
        self.precision = precision
        self.random_state = random_state

    def _fit(
        self, data: FitData, backbone: AbstractBackbone, checkpoint: Path | None
    ) -> TextClassifier:

        def make(learner: PromptLearner, rows: FitData) -> _JoAPRTraining:
            return _JoAPRTraining(learner, rows, backbone, self)

        module, classifier = train_prompts(self, data, backbone, checkpoint, make)
        self.n_clean_ = module.n_clean
        return classifier

    def check(self) -> None:
        """Raise `InputError` for arguments that no data can make usable; `fit` calls it first."""
        super().check()
        problems = []
        if not is_number(self.agreement, low=0, high=1):
            problems.append(f"agreement must be a number in 0..1, not {self.agreement!r}")
        if not is_number(self.mixup_alpha, low=0, high=1e6):
            problems.append(
                f"mixup_alpha must be a finite number of at least 0, not {self.mixup_alpha!r}"
            )
        gather(problems, what="JoAPR")

    def _tensors(self) -> dict[str, Tensor]:
        return {**super()._tensors(), "context": self.context_}


class _JoAPRTraining(AbstractPromptTraining):
    """Cross-entropy to refurbished labels of mixed features."""

    def __init__(
        self, learner: PromptLearner, data: FitData, backbone: AbstractBackbone, params: Any
    ):
        super().__init__(learner, data, backbone)
        self.params = params
        prior = zero_shot_classifier(backbone, data.prompt_names).logits(self.features)
        self.log_p_prior = prior.float().log_softmax(dim=1)
        self.targets = one_hot(self.labels, data.n_classes).float()
        self.n_clean: list[int] = []

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        log_p = self.all_logits().float().log_softmax(dim=1)
        losses = joint_loss(log_p, self.log_p_prior, self.labels, self.params.agreement)
        found = clean_probability_from_losses(
            losses.cpu().double().numpy(), random_state=self.params.random_state
        )
        # Only float32 goes to the device: not every one has float64.
        p_clean = torch.as_tensor(found, dtype=log_p.dtype, device=log_p.device)
        clean = clean_part(torch.as_tensor(found)).to(log_p.device)
        self.targets = refurbish_labels(self.labels, p_clean, log_p.exp(), clean)
        self.n_clean.append(int(clean.sum()))
        log.info("epoch %d: %d of %d labels clean", epoch + 1, self.n_clean[-1], len(self.labels))

    def step(self, rows: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        features, targets = mixup_features(
            self.features[rows], self.targets[rows], self.params.mixup_alpha, generator
        )
        return soft_cross_entropy(self.logits(features), targets).mean()
