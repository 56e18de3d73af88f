"""Tip-Adapter: zero-shot logits and those of a cache of labelled features (Zhang et al., 2022)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn.functional import one_hot

from ..backbones import AbstractBackbone
from ..core.exceptions import InputError, gather
from ..core.random import numpy_generator
from ..core.validation import check_number
from ..prompts import TextClassifier, zero_shot_classifier
from ..prompts.classifier import probabilities
from .base import AbstractTuner
from .feature_training import given_plan, train_head, with_shots
from .inputs import FitData
from .plan import TrainingPlan

PLAN = TrainingPlan(
    epochs=20, batch_size=256, lr=1e-3, weight_decay=0.01, warmup_epochs=0, optimizer="adamw"
)
"""Of the trained keys (Tip-Adapter-F), as in the authors' description."""


@dataclass(frozen=True, eq=False)
class CacheClassifier:
    """Zero-shot logits plus ``alpha exp(-beta (1 - cos(x, keys))) . one-hot labels``.

    Parameters
    ----------
    zero_shot : TextClassifier
        The classes and their text features.
    keys : Tensor
        Shape (M, D), float32: features of M labelled images, of length 1 unless trained.
    labels : Tensor
        Shape (M,), int64: the given labels of the keys.
    alpha, beta : float
        Weight of the cache, and how fast it forgets what is not alike.
    """

    zero_shot: TextClassifier
    keys: Tensor
    labels: Tensor
    alpha: float
    beta: float

    @property
    def class_names(self) -> tuple[str, ...]:
        """The K classes, in order."""
        return self.zero_shot.class_names

    def logits(self, features: Tensor) -> Tensor:
        """Logits of normalised features: (B, D) -> (B, K)."""
        near = (-self.beta * (1 - features @ self.keys.to(features).T)).exp()
        values = one_hot(self.labels.to(features.device), len(self.class_names))
        return self.zero_shot.logits(features) + self.alpha * near @ values.to(near.dtype)

    def predict_proba(self, features: Any) -> npt.NDArray[np.float32]:
        """Class probabilities (N, K); see `TextClassifier.predict_proba`."""
        with torch.no_grad():
            return probabilities(self.logits, features, self.zero_shot.weights)


class TipAdapter(AbstractTuner):
    """A key-value cache of labelled features on top of zero-shot classification.

    Every labelled image votes for its given label where a new image is like it (Zhang et al.,
    ECCV 2022). Nothing is trained, unless `fine_tune` is set: then the keys are.

    Parameters
    ----------
    backbone : str or AbstractBackbone
        Hub id, directory, or a loaded model.
    class_names : sequence of str, optional
        Needed when fitted to features.
    templates : str or sequence of str
        Of the zero-shot part; see `ZeroShot`.
    alpha, beta : float
        Weight of the cache and sharpness of likeness; 1 and 5.5 as published.
    shots : int or None
        Images a class that make the cache, drawn at random. With None it holds all images, and
        `alpha` should be smaller, since the votes are added up.
    fine_tune : bool
        Train the keys (Tip-Adapter-F).
    loss : str
        With `fine_tune`: a name from `losses.LOSSES`.
    loss_params : dict, optional
        Parameters of the loss.
    epochs, batch_size, lr, weight_decay : optional
        With `fine_tune`: of AdamW, with a cosine; unset 20, 256, 0.001 and 0.01.
    random_state : int
        Decides the shots and the order of samples.

    Attributes
    ----------
    classifier_ : CacheClassifier
        Zero-shot weights, keys and their labels.

    Examples
    --------
    >>> tuner = TipAdapter("mini-glyph", shots=16, fine_tune=True)
    """

    def __init__(
        self,
        backbone: str | AbstractBackbone = "openai/clip-vit-base-patch16",
        *,
        class_names: Sequence[str] | None = None,
        templates: str | Sequence[str] = "default",
        alpha: float = 1.0,
        beta: float = 5.5,
        shots: int | None = 16,
        fine_tune: bool = False,
        loss: str = "ce",
        loss_params: dict[str, Any] | None = None,
        epochs: int | None = None,
        batch_size: int | None = None,
        lr: float | None = None,
        weight_decay: float | None = None,
        random_state: int = 0,
    ):
        self.backbone = backbone
        self.class_names = class_names
        self.templates = templates
        self.alpha = alpha
        self.beta = beta
        self.shots = shots
        self.fine_tune = fine_tune
        self.loss = loss
        self.loss_params = loss_params
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.weight_decay = weight_decay
        self.random_state = random_state

    def _fit(
        self, data: FitData, backbone: AbstractBackbone, checkpoint: Path | None
    ) -> CacheClassifier:
        data = with_shots(data, self.shots, numpy_generator(self.random_state))
        text = zero_shot_classifier(backbone, data.prompt_names, self.templates)
        cache = CacheClassifier(
            replace(text, class_names=data.class_names),
            torch.as_tensor(data.features, device=backbone.device),
            torch.as_tensor(data.labels, device=backbone.device),
            self.alpha,
            self.beta,
        )
        if not self.fine_tune:
            return cache
        head = _CacheHead(cache)
        plan = given_plan(PLAN, self)
        self.history_ = train_head(self, head, data, backbone, plan, checkpoint)
        return replace(cache, keys=head.keys.detach())

    def check(self) -> None:
        """Raise `InputError` for arguments that no data can make usable; `fit` calls it first."""
        super().check()
        problems = []
        for name in ("alpha", "beta"):
            try:
                check_number(getattr(self, name), name=name, low=0)
            except InputError as error:
                problems.append(str(error))
        gather(problems, what="tip-adapter")

    def _tensors(self) -> dict[str, Tensor]:
        found = self.classifier_
        return {
            "class_weights": found.zero_shot.weights,
            "cache_keys": found.keys,
            "cache_labels": found.labels,
        }

    def _head_config(self) -> dict[str, Any]:
        text = self.classifier_.zero_shot
        return {"logit_scale": text.logit_scale, "logit_bias": text.logit_bias}

    def _restore(self, config: dict[str, Any], tensors: dict[str, Tensor]) -> None:
        super()._restore(config, tensors)
        keys, labels = tensors["cache_keys"], tensors["cache_labels"]
        self.classifier_ = CacheClassifier(self.classifier_, keys, labels, self.alpha, self.beta)


class _CacheHead(nn.Module):
    """A cache whose keys are trained."""

    def __init__(self, cache: CacheClassifier):
        super().__init__()
        self.cache, self.keys = cache, nn.Parameter(cache.keys.clone())

    def forward(self, features: Tensor) -> Tensor:
        """Logits of normalised features: (B, D) -> (B, K)."""
        return replace(self.cache, keys=self.keys).logits(features)
