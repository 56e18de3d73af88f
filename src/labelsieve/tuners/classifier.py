"""Classifier-R and Classifier-C: a linear classifier on frozen features (PTNL, ICCV 2023)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import normalize

from ..backbones import AbstractBackbone
from ..core.random import numpy_generator, torch_generator
from ..core.validation import check_choice
from ..prompts import TextClassifier, zero_shot_classifier
from .base import AbstractTuner
from .feature_training import given_plan, train_head, with_shots
from .inputs import FitData
from .plan import default_plan

INITIALS = ("random", "text")


class CosineClassifier(AbstractTuner):
    """A weight vector for each class, compared with image features by their cosine.

    Wu et al. (ICCV 2023) compare prompt tuning with such a head from a random start (Classifier-R)
    and from the text features of the class names (Classifier-C). They do not publish its details;
    here it has the logit scale of the backbone and no bias of its own, so that it differs from
    prompt tuning only in what is trained.

    Parameters
    ----------
    backbone : str or AbstractBackbone
        Hub id, directory, or a loaded model.
    class_names : sequence of str, optional
        Needed when fitted to features.
    initial : {"random", "text"}
        Start of the weights: random directions, or the zero-shot classifier.
    templates : str or sequence of str
        Of the text start; see `ZeroShot`.
    loss : str
        A name from `losses.LOSSES`.
    loss_params : dict, optional
        Parameters of the loss.
    shots : int, optional
        Images a class to train on, drawn at random; None uses all.
    epochs, batch_size, lr : optional
        See `TrainingPlan`; unset, they follow `default_plan`.
    momentum, weight_decay, warmup_epochs
        See `TrainingPlan`.
    random_state : int
        Decides the shots, the random start and the order of samples.

    Examples
    --------
    >>> tuner = CosineClassifier("mini-glyph", initial="text", loss="ce", shots=16)
    """

    def __init__(
        self,
        backbone: str | AbstractBackbone = "openai/clip-vit-base-patch16",
        *,
        class_names: Sequence[str] | None = None,
        initial: str = "random",
        templates: str | Sequence[str] = "default",
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
        self.initial = initial
        self.templates = templates
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

    @property
    def name(self) -> str:
        """The name under which this setting is registered."""
        return "classifier-c" if self.initial == "text" else "classifier-r"

    def check(self) -> None:
        """Raise `InputError` for arguments that no data can make usable; `fit` calls it first."""
        super().check()
        check_choice(self.initial, INITIALS, name="initial")

    def _fit(
        self, data: FitData, backbone: AbstractBackbone, checkpoint: Path | None
    ) -> TextClassifier:
        generator = numpy_generator(self.random_state)
        data = with_shots(data, self.shots, generator)
        scale, bias = backbone.logit_scale, backbone.logit_bias
        head = CosineHead(self._start(data, backbone, torch_generator(generator)), scale, bias)
        plan = default_plan(len(data.labels), scale, few_shot=self.shots is not None)
        plan = given_plan(plan, self)
        self.history_ = train_head(self, head, data, backbone, plan, checkpoint)
        weights = normalize(head.weights.detach(), dim=-1)
        return TextClassifier(weights, data.class_names, scale, bias)

    def _start(
        self, data: FitData, backbone: AbstractBackbone, generator: torch.Generator
    ) -> Tensor:
        """Initial weights (K, D), rows of length 1."""
        if self.initial == "text":
            return zero_shot_classifier(backbone, data.prompt_names, self.templates).weights
        draws = torch.randn(data.n_classes, backbone.embed_dim, generator=generator)
        return normalize(draws, dim=-1).to(backbone.device)


class CosineHead(nn.Module):
    """Scaled cosines between features and one trained vector a class.

    Parameters
    ----------
    weights : Tensor
        Shape (K, D): the start. Only their directions matter; they are normalised at every use.
    logit_scale, logit_bias : float
        Of the backbone; not trained.
    """

    def __init__(self, weights: Tensor, logit_scale: float, logit_bias: float):
        super().__init__()
        self.weights = nn.Parameter(weights.clone())
        self.logit_scale, self.logit_bias = logit_scale, logit_bias

    def forward(self, features: Tensor) -> Tensor:
        """Logits of normalised features: (B, D) -> (B, K)."""
        return self.logit_scale * features @ normalize(self.weights, dim=-1).T + self.logit_bias


classifier_c = partial(CosineClassifier, initial="text")
"""Started from the text features of the class names."""
