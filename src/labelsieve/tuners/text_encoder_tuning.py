"""TEnc-FT: the text encoder is trained through fixed prompts (PTNL, ICCV 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..backbones import AbstractBackbone
from ..core.random import numpy_generator
from ..prompts import TextClassifier, TextTower, class_texts, resolve_templates
from .base import AbstractTuner
from .feature_training import given_plan, train_head, with_shots
from .inputs import FitData
from .plan import default_plan

PREFIX = "text_tower."
LR_FACTOR = 0.1
"""Of the learning rate for prompts, since all weights move at every step."""


class TextEncoderTuning(AbstractTuner):
    """Hand-written prompts, trained text encoder; the image features stay as they are.

    The counterpart of prompt tuning in Wu et al. (ICCV 2023): many weights instead of few words,
    so that wrong labels can be memorised. The backbone itself is not changed; the weights are
    trained in a copy.

    Parameters
    ----------
    backbone : str or AbstractBackbone
        Hub id, directory, or a loaded model.
    class_names : sequence of str, optional
        Needed when fitted to features.
    templates : str or sequence of str
        The fixed prompts; see `ZeroShot`.
    partial : int, optional
        Train only the last `partial` blocks; default is the whole text tower.
    keep_weights : bool
        Save the trained weights of the text tower too, beside the class weights that they gave.
    loss : str
        A name from `losses.LOSSES`.
    loss_params : dict, optional
        Parameters of the loss.
    shots : int, optional
        Images a class to train on, drawn at random; None uses all.
    epochs, batch_size : optional
        See `TrainingPlan`; unset, they follow `default_plan`.
    lr : float, optional
        Learning rate; unset, a tenth of that of `default_plan`, since all weights move.
    momentum, weight_decay, warmup_epochs
        See `TrainingPlan`.
    random_state : int
        Decides the shots and the order of samples.

    Attributes
    ----------
    text_tower_ : dict of str to Tensor
        The trained weights by their name in the model; empty after loading without `keep_weights`.

    Examples
    --------
    >>> tuner = TextEncoderTuning("mini-glyph", loss="ce", partial=1, shots=16)
    """

    def __init__(
        self,
        backbone: str | AbstractBackbone = "openai/clip-vit-base-patch16",
        *,
        class_names: Sequence[str] | None = None,
        templates: str | Sequence[str] = "default",
        partial: int | None = None,
        keep_weights: bool = False,
        loss: str = "ce",
        loss_params: dict[str, Any] | None = None,
        shots: int | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        warmup_epochs: int = 1,
        random_state: int = 0,
    ):
        self.backbone = backbone
        self.class_names = class_names
        self.templates = templates
        self.partial = partial
        self.keep_weights = keep_weights
        self.loss = loss
        self.loss_params = loss_params
        self.shots = shots
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.warmup_epochs = warmup_epochs
        self.random_state = random_state

    def _fit(
        self, data: FitData, backbone: AbstractBackbone, checkpoint: Path | None
    ) -> TextClassifier:
        data = with_shots(data, self.shots, numpy_generator(self.random_state))
        tower = TextTower(backbone, partial=self.partial)
        head = _PromptHead(tower, backbone, data.prompt_names, resolve_templates(self.templates))
        plan = default_plan(len(data.labels), backbone.logit_scale, few_shot=self.shots is not None)
        plan = given_plan(replace(plan, lr=plan.lr * LR_FACTOR), self)
        self.history_ = train_head(self, head, data, backbone, plan, checkpoint)
        self.text_tower_ = {name: weight.detach() for name, weight in tower.weights().items()}
        with torch.no_grad():
            weights = head.class_weights()
        return TextClassifier(weights, data.class_names, backbone.logit_scale, backbone.logit_bias)

    def _tensors(self) -> dict[str, Tensor]:
        kept = self.text_tower_ if self.keep_weights else {}
        return super()._tensors() | {PREFIX + name: weight for name, weight in kept.items()}

    def _restore(self, config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        super()._restore(config, tensors)
        names = [name for name in tensors if name.startswith(PREFIX)]
        self.text_tower_ = {name.removeprefix(PREFIX): tensors[name] for name in names}


class _PromptHead(nn.Module):
    """Logits of features against the texts of all classes, encoded anew at every step."""

    def __init__(
        self,
        tower: TextTower,
        backbone: AbstractBackbone,
        words: Sequence[str],
        templates: Sequence[str],
    ):
        super().__init__()
        self.tower, self.backbone, self.n_templates = tower, backbone, len(templates)
        self.tokens = backbone.tokenize(class_texts(words, templates))

    def class_weights(self) -> Tensor:
        """Text features (K, D), averaged over the templates as in `zero_shot_classifier`."""
        features = self.tower(self.backbone, self.tokens)
        return normalize(features.unflatten(0, (-1, self.n_templates)).mean(dim=1), dim=-1)

    def forward(self, features: Tensor) -> Tensor:
        """Logits of normalised features: (B, D) -> (B, K)."""
        cosines = features @ self.class_weights().T
        return self.backbone.logit_scale * cosines + self.backbone.logit_bias
