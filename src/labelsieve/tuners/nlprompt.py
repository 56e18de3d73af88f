"""NLPrompt: cross-entropy on clean labels, mean absolute error on the rest."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..backbones import AbstractBackbone
from ..core.exceptions import gather
from ..core.validation import is_number
from ..losses import make_loss
from ..prompts import PromptLearner, TextClassifier
from ..selection.prompt_ot import COSTS, curriculum_budget, prompt_ot
from .base import AbstractTuner
from .inputs import FitData
from .prompt_training import AbstractPromptTraining, train_prompts

log = logging.getLogger(__name__)


class NLPrompt(AbstractTuner):
    """Prompt tuning whose labels are split by optimal transport (Pan et al., CVPR 2025).

    Before every epoch PromptOT splits all rows by the current text features; an epoch is one pass
    in which rows of the clean part have the cross-entropy and the others the mean absolute error
    (PromptMAE). In the published code an epoch is a pass over the clean rows and then one over the
    others. The sum of the gradients over an epoch is the same; mixed batches need one schedule and
    leave no part that is too small for a batch.

    Parameters
    ----------
    backbone : str or AbstractBackbone
        Hub id, directory, or a loaded model.
    class_names : sequence of str, optional
        Needed when fitted to features.
    reg : float
        Entropic regularisation of the transport.
    cost : {"log-probability", "double-softmax"}
        Of the transport, as in the paper or as in its code; see `prompt_ot`.
    begin_budget : float
        Share of the rows that may be clean in the first epoch of the curriculum, in (0, 1].
    curriculum_epochs : int
        Epochs over which the share rises linearly to 1; 0 starts at 1.
    initial_text, n_context, position, class_specific, shots
        See `CoOp`.
    epochs, batch_size, lr : optional
        See `TrainingPlan`; unset, they follow `default_plan`.
    momentum, weight_decay, warmup_epochs, precision
        See `TrainingPlan`.
    random_state : int
        Decides the shots, the initial context and the order of samples.

    Attributes
    ----------
    context_ : Tensor
        The learned context tokens, (M, d) or (K, M, d).
    n_clean_ : list of int
        Rows of the clean part in each epoch of this fit (a resumed one starts where it resumed).

    Examples
    --------
    >>> tuner = NLPrompt("mini-glyph", shots=16, begin_budget=0.5, curriculum_epochs=20)
    """

    def __init__(
        self,
        backbone: str | AbstractBackbone = "openai/clip-vit-base-patch16",
        *,
        class_names: Sequence[str] | None = None,
        reg: float = 0.01,
        cost: str = "log-probability",
        begin_budget: float = 0.3,
        curriculum_epochs: int = 0,
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
        self.reg = reg
        self.cost = cost
        self.begin_budget = begin_budget
        self.curriculum_epochs = curriculum_epochs
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

        def make(learner: PromptLearner, rows: FitData) -> _NLPromptTraining:
            return _NLPromptTraining(learner, rows, backbone, self)

        module, classifier = train_prompts(self, data, backbone, checkpoint, make)
        self.n_clean_ = module.n_clean
        return classifier

    def check(self) -> None:
        """Raise `InputError` for arguments that no data can make usable; `fit` calls it first."""
        super().check()
        problems = []
        if not (is_number(self.reg, low=0) and self.reg > 0):
            problems.append(f"reg must be a finite number above 0, not {self.reg!r}")
        if self.cost not in COSTS:
            problems.append(f"cost must be one of {', '.join(COSTS)}, not {self.cost!r}")
        if not (is_number(self.begin_budget, low=0, high=1) and self.begin_budget > 0):
            problems.append(f"begin_budget must be in (0, 1], not {self.begin_budget!r}")
        if not is_number(self.curriculum_epochs, low=0, integer=True):
            problems.append(
                f"curriculum_epochs must be an integer of at least 0, not "
                f"{self.curriculum_epochs!r}"
            )
        gather(problems, what="NLPrompt")

    def _tensors(self) -> dict[str, Tensor]:
        return {**super()._tensors(), "context": self.context_}


class _NLPromptTraining(AbstractPromptTraining):
    """Cross-entropy on the clean part, mean absolute error on the rest, in the same batches."""

    def __init__(
        self, learner: PromptLearner, data: FitData, backbone: AbstractBackbone, params: Any
    ):
        super().__init__(learner, data, backbone)
        self.params = params
        self.clean_loss, self.noisy_loss = make_loss("ce"), make_loss("mae")
        self.clean: Tensor | None = None
        self.n_clean: list[int] = []

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        params, logits = self.params, self.all_logits()
        if logits.device.type == "mps":  # which has no float64
            logits = logits.cpu()
        found = prompt_ot(
            logits,
            self.labels,
            reg=params.reg,
            cost=params.cost,
            budget=curriculum_budget(epoch, params.curriculum_epochs, params.begin_budget),
        )
        self.clean = found.clean.to(self.labels.device)
        self.n_clean.append(int(found.clean.sum()))
        log.info("epoch %d: %d of %d labels clean", epoch + 1, self.n_clean[-1], len(self.labels))

    def step(self, rows: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        assert self.clean is not None
        logits, labels = self.logits(self.features[rows]), self.labels[rows]
        losses = torch.where(
            self.clean[rows], self.clean_loss(logits, labels), self.noisy_loss(logits, labels)
        )
        return losses.mean()
