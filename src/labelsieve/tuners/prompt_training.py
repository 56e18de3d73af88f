"""Prompts trained on cached image features, for methods that judge the labels meanwhile."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..backbones import AbstractBackbone
from ..core.random import numpy_generator, torch_generator
from ..prompts import PromptLearner, TextClassifier, cosines, encode_prompts
from .feature_training import given_plan, with_shots
from .inputs import FitData
from .plan import default_plan
from .training import AbstractTrainable, train


class AbstractPromptTraining(AbstractTrainable):
    """A prompt learner against cached features; subclasses give the loss of a batch.

    Parameters
    ----------
    learner : PromptLearner
        Its context is trained.
    data : FitData
        Features and given labels of N rows.
    backbone : AbstractBackbone
        Encodes the prompts.
    """

    def __init__(self, learner: PromptLearner, data: FitData, backbone: AbstractBackbone):
        super().__init__()
        self.learner, self.backbone = learner, backbone
        self.features = torch.as_tensor(data.features, device=backbone.device)
        self.labels = torch.as_tensor(data.labels, device=backbone.device)

    def logits(self, features: Tensor) -> Tensor:
        """Scaled similarities (B, K) of features (B, D) to the current text features."""
        text = encode_prompts(self.backbone, self.learner)
        return self.backbone.logit_scale * cosines(features, text) + self.backbone.logit_bias

    @torch.no_grad()
    def all_logits(self) -> Tensor:
        """Logits of all rows, none left out and none augmented: (N, K)."""
        return self.logits(self.features)

    @abstractmethod
    def step(self, rows: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        """See `AbstractTrainable`."""


def train_prompts(
    tuner: Any,
    data: FitData,
    backbone: AbstractBackbone,
    checkpoint: Path | None,
    make: Callable[[PromptLearner, FitData], AbstractPromptTraining],
) -> tuple[Any, TextClassifier]:
    """Train prompts by CoOp's recipe; sets `history_` and `context_` of the tuner.

    Parameters
    ----------
    tuner : AbstractTuner
        Has CoOp's arguments for the context, the shots, the schedule and the seed.
    data : FitData
        All rows; `tuner.shots` of a class are drawn of them.
    backbone : AbstractBackbone
        Encodes the prompts.
    checkpoint : Path or None
        See `train`.
    make : callable
        Gets the learner and the rows, and returns what is trained.

    Returns
    -------
    module, classifier
        What `make` returned, trained, and the classifier of its last text features.
    """
    generator = numpy_generator(tuner.random_state)
    data = with_shots(data, tuner.shots, generator)
    learner = PromptLearner(
        backbone,
        data.prompt_names,
        n_context=tuner.n_context,
        position=tuner.position,
        class_specific=tuner.class_specific,
        initial_text=tuner.initial_text,
        generator=torch_generator(generator),
    )
    module = make(learner, data)
    plan = default_plan(len(data.labels), backbone.logit_scale, few_shot=tuner.shots is not None)
    params = {k: v for k, v in tuner.get_params(deep=False).items() if k != "backbone"}
    tuner.history_ = train(
        module,
        len(data.labels),
        given_plan(plan, tuner),
        random_state=tuner.random_state,
        checkpoint=checkpoint,
        identity=[tuner.name, params, backbone.fingerprint, data.digest()],
        description=f"tuning prompts ({tuner.name})",
    )
    tuner.context_ = learner.context.detach()
    with torch.no_grad():
        weights = encode_prompts(backbone, learner)
    scale, bias = backbone.logit_scale, backbone.logit_bias
    return module, TextClassifier(weights, data.class_names, scale, bias)
