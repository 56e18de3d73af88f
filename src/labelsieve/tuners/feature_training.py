"""Training of a head on cached image features, as several paradigms need it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ..backbones import AbstractBackbone
from ..core.validation import check_number
from ..data.splits import few_shot
from ..losses import make_loss
from .inputs import FitData
from .plan import TrainingPlan
from .training import AbstractTrainable, train

PLANNED = ("epochs", "batch_size", "lr", "momentum", "weight_decay", "warmup_epochs", "precision")


class FeatureTraining(AbstractTrainable):
    """Mean loss of a head over cached features; what `train` gets.

    Parameters
    ----------
    head : Module
        Normalised features (B, D) to logits (B, K); its parameters are trained.
    data : FitData
        Features and given labels.
    backbone : AbstractBackbone
        Decides the device.
    loss : str
        A name from `losses.LOSSES`.
    loss_params : dict, optional
        Parameters of the loss.
    """

    def __init__(
        self,
        head: nn.Module,
        data: FitData,
        backbone: AbstractBackbone,
        *,
        loss: str,
        loss_params: dict[str, Any] | None = None,
    ):
        super().__init__()
        self.head = head
        self.features = torch.as_tensor(data.features, device=backbone.device)
        self.labels = torch.as_tensor(data.labels, device=backbone.device)
        self.loss = make_loss(loss, **loss_params or {})

    def step(self, rows: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        """See `AbstractTrainable`."""
        return self.loss(self.head(self.features[rows]), self.labels[rows]).mean()


def train_head(
    tuner: Any,
    head: nn.Module,
    data: FitData,
    backbone: AbstractBackbone,
    plan: TrainingPlan,
    checkpoint: Path | None,
) -> list[dict[str, float]]:
    """Train a head in place with the loss of a tuner, and return the history.

    Parameters
    ----------
    tuner : AbstractTuner
        Has `loss`, `loss_params` and `random_state`; a checkpoint must match its parameters.
    head, data, backbone
        See `FeatureTraining`.
    plan : TrainingPlan
        Optimiser and schedule.
    checkpoint : Path or None
        See `train`.
    """
    params = {k: v for k, v in tuner.get_params(deep=False).items() if k != "backbone"}
    return train(
        FeatureTraining(head, data, backbone, loss=tuner.loss, loss_params=tuner.loss_params),
        len(data.labels),
        plan,
        random_state=tuner.random_state,
        checkpoint=checkpoint,
        identity=[tuner.name, params, backbone.fingerprint, data.digest()],
        description=f"{tuner.name} ({tuner.loss})",
    )


def given_plan(plan: TrainingPlan, tuner: Any) -> TrainingPlan:
    """A plan with the values that a tuner was given; None is not given."""
    given = {name: getattr(tuner, name) for name in PLANNED if hasattr(tuner, name)}
    return replace(plan, **{name: value for name, value in given.items() if value is not None})


def with_shots(data: FitData, shots: int | None, generator: np.random.Generator) -> FitData:
    """`shots` rows a class, drawn at random; all rows for None.

    Raises
    ------
    InputError
        If `shots` is no integer of at least 1.
    """
    if shots is None:
        return data
    check_number(shots, name="shots", low=1, integer=True)
    return data.subset(few_shot(data.labels, shots, generator))
