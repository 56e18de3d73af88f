"""A classifier head trained on the posterior of the true labels, not on the given ones."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..backbones import AbstractBackbone
from ..core.exceptions import InputError
from ..core.random import numpy_generator
from ..core.validation import FloatArray, check_number
from ..prompts import TextClassifier, zero_shot_classifier
from ..selection.latent_labels import fit_latent_labels
from ..selection.mixture_and_refurbish import soft_cross_entropy
from .base import AbstractTuner
from .classifier import CosineHead
from .feature_training import given_plan, with_shots
from .inputs import FitData
from .plan import default_plan
from .training import AbstractTrainable, train


class PosteriorClassifier(AbstractTuner):
    """A cosine classifier from the text features, fitted to what the true labels probably are.

    A latent-label model (see `selection.latent_labels`) weighs three kinds of evidence: the
    zero-shot prediction, a correction of it that other samples' given labels support (out of fold),
    and the given label, as far as a learned noise matrix lets it be believed. Its posterior
    q(t | x, given) is the target of the cross-entropy. No noise rate and no clean labels are
    needed. Our own method.

    Parameters
    ----------
    backbone : str or AbstractBackbone
        Hub id, directory, or a loaded model.
    class_names : sequence of str, optional
        Needed when fitted to features.
    templates : str or sequence of str
        Of the zero-shot evidence and the start of the weights; see `ZeroShot`.
    n_folds, n_repeats : int
        Of the latent-label model.
    shots : int, optional
        Images a class to train on, drawn at random; None uses all.
    epochs, batch_size, lr : optional
        See `TrainingPlan`; unset, they follow `default_plan`.
    momentum, weight_decay, warmup_epochs
        See `TrainingPlan`.
    random_state : int
        Decides the shots, the folds and the order of samples.

    Attributes
    ----------
    posterior_ : ndarray of float64, shape (N, K)
        The targets of the rows that were trained on (not saved).
    noise_matrix_ : ndarray of float64, shape (K, K)
        Estimated P(given | true), rows are true classes (not saved).

    Examples
    --------
    >>> tuner = PosteriorClassifier("mini-glyph", shots=16)
    """

    posterior_: FloatArray
    noise_matrix_: FloatArray

    def __init__(
        self,
        backbone: str | AbstractBackbone = "openai/clip-vit-base-patch16",
        *,
        class_names: Sequence[str] | None = None,
        templates: str | Sequence[str] = "default",
        n_folds: int = 5,
        n_repeats: int = 4,
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
        self.n_folds = n_folds
        self.n_repeats = n_repeats
        self.shots = shots
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.warmup_epochs = warmup_epochs
        self.random_state = random_state

    def check(self) -> None:
        """Raise `InputError` for arguments that no data can make usable; `fit` calls it first."""
        super().check()
        check_number(self.n_folds, name="n_folds", low=2, integer=True)
        check_number(self.n_repeats, name="n_repeats", low=1, integer=True)

    def _fit(
        self, data: FitData, backbone: AbstractBackbone, checkpoint: Path | None
    ) -> TextClassifier:
        data = with_shots(data, self.shots, numpy_generator(self.random_state))
        if len(set(data.labels.tolist())) < 2:
            raise InputError("all given labels are of one class; at least two classes are needed")
        start = zero_shot_classifier(backbone, data.prompt_names, self.templates)
        features = torch.as_tensor(data.features, device=backbone.device)
        found = fit_latent_labels(
            data.features,
            data.labels,
            start.logits(features).cpu().numpy(),
            n_folds=self.n_folds,
            n_repeats=self.n_repeats,
            random_state=self.random_state,
        )
        self.posterior_, self.noise_matrix_ = found.posterior, found.noise_matrix
        scale, bias = backbone.logit_scale, backbone.logit_bias
        head = CosineHead(start.weights, scale, bias)
        targets = torch.as_tensor(found.posterior, dtype=torch.float32, device=backbone.device)
        plan = default_plan(len(data.labels), scale, few_shot=self.shots is not None)
        params = {k: v for k, v in self.get_params(deep=False).items() if k != "backbone"}
        self.history_ = train(
            _SoftTargets(head, features, targets),
            len(features),
            given_plan(plan, self),
            random_state=self.random_state,
            checkpoint=checkpoint,
            identity=[self.name, params, backbone.fingerprint, data.digest()],
            description=self.name,
        )
        weights = normalize(head.weights.detach(), dim=-1)
        return TextClassifier(weights, data.class_names, scale, bias)


class _SoftTargets(AbstractTrainable):
    """Cross-entropy of a head against probabilities."""

    def __init__(self, head: CosineHead, features: Tensor, targets: Tensor):
        super().__init__()
        self.head, self.features, self.targets = head, features, targets

    def step(self, rows: Tensor, epoch: int, generator: torch.Generator) -> Tensor:
        return soft_cross_entropy(self.head(self.features[rows]), self.targets[rows]).mean()
