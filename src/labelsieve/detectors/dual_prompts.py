"""DeFT's dual prompts: the negative prompt is a learned threshold for the positive one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..backbones import AbstractBackbone
from ..core.random import numpy_generator, torch_generator
from ..core.validation import IntArray, check_number
from ..losses import make_loss
from ..prompts import PromptLearner, encode_prompts
from ..tuners.inputs import FitData
from ..tuners.training import AbstractTrainable, TrainingPlan, train
from .base import AbstractDetector, Detection

FLOOR = 1e-5  # probabilities below it give no gradient


class DualPrompts(AbstractDetector):
    """Phase 1 of DeFT (Wei et al., NeurIPS 2024) on frozen image features.

    Two contexts are learned: the positive prompts classify, the negative prompt of the given
    class is a threshold of its own for every sample. A label is clean where its positive
    similarity is strictly above its negative one.

    Parameters
    ----------
    backbone : str or AbstractBackbone
        Hub id, directory, or a loaded model.
    class_names : sequence of str, optional
        Needed when fitted to features.
    initial_text : str or None
        Words whose token embeddings start the positive context. None draws both contexts at
        random, as the paper does, so that neither starts ahead of the other.
    n_context : int
        Context tokens M where drawn at random.
    epochs, batch_size, lr, momentum, weight_decay
        See `TrainingPlan`; no warm-up of the learning rate.
    warmup_epochs : int
        First epochs in which every label counts as clean.
    random_state : int
        Decides the contexts, the complementary labels and the order of samples.

    Examples
    --------
    >>> detector = DualPrompts("mini-glyph", epochs=10)
    """

    def __init__(
        self,
        backbone: str | AbstractBackbone = "openai/clip-vit-base-patch16",
        *,
        class_names: Sequence[str] | None = None,
        initial_text: str | None = None,
        n_context: int = 16,
        epochs: int = 10,
        batch_size: int = 64,
        lr: float = 0.03,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        warmup_epochs: int = 1,
        random_state: int = 0,
    ):
        self.backbone = backbone
        self.class_names = class_names
        self.initial_text = initial_text
        self.n_context = n_context
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.warmup_epochs = warmup_epochs
        self.random_state = random_state

    def _detect(
        self, data: FitData, backbone: AbstractBackbone, checkpoint: Path | None
    ) -> Detection:
        check_number(self.warmup_epochs, name="warmup_epochs", low=0, integer=True)
        generator = numpy_generator(self.random_state)
        prompts = [
            PromptLearner(
                backbone,
                data.prompt_names,
                n_context=self.n_context,
                initial_text=text,
                generator=torch_generator(generator),
            )
            for text in (self.initial_text, None)
        ]
        module = _DualPromptTuning(data, backbone, *prompts, warmup_epochs=self.warmup_epochs)
        params = {k: v for k, v in self.get_params(deep=False).items() if k != "backbone"}
        plan = TrainingPlan(
            self.epochs,
            self.batch_size,
            self.lr,
            self.momentum,
            self.weight_decay,
            warmup_epochs=0,
        )
        self.history_ = train(
            module,
            len(data.labels),
            plan,
            random_state=self.random_state,
            checkpoint=checkpoint,
            identity=[params, backbone.fingerprint, data.digest()],
            description="tuning dual prompts",
        )
        with torch.no_grad():
            positive, negative = module.logits(torch.arange(len(data.labels)))
        return _judge(positive.cpu(), negative.cpu(), data.labels)


def _judge(positive: torch.Tensor, negative: torch.Tensor, labels: IntArray) -> Detection:
    """One pass with the final prompts: clean where positive is strictly above negative."""
    rows = torch.arange(len(labels))
    margin = (positive - negative)[rows, torch.as_tensor(labels)].double()
    p_clean = torch.sigmoid(margin).numpy()
    # sigmoid saturates in the tails; a squashed margin keeps their order in 0..1
    score = (0.5 + 0.5 * margin / (1 + margin.abs())).numpy()
    p = positive.double().softmax(dim=1).numpy()
    return Detection(score, ~(margin.numpy() > 0), p, np.clip(p_clean, 0, 1))


def dual_prompt_losses(
    positive: torch.Tensor,
    negative: torch.Tensor,
    labels: torch.Tensor,
    complementary: torch.Tensor,
    *,
    warm_up: bool,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The two losses of DeFT for one batch, L_dp and L_sim.

    L_dp = mean -log p_clean(t) + mean -log(1 - p_clean(complementary)) with
    p_clean = sigmoid(positive - negative); t is the given label, or, once the warm-up is over and
    the label is rejected, the current positive prediction. Positive logits are detached in it, so
    it trains the negative prompts only. L_sim is the cross-entropy of the positive logits over the
    selected samples (all of them in the warm-up), zero when none is selected.

    Parameters
    ----------
    positive, negative : Tensor, shape (B, K)
        Scaled similarities to the positive and negative prompts.
    labels, complementary : Tensor of int64, shape (B,)
        Given labels, and for each a random other class.
    warm_up : bool
        Whether every label counts as clean.

    Returns
    -------
    tuple of Tensor
        L_dp and L_sim, scalars.
    """
    p_clean = torch.sigmoid(positive.detach() - negative)
    rows = torch.arange(len(labels), device=labels.device)
    selected = (p_clean[rows, labels] > 0.5) | warm_up
    target = torch.where(selected, labels, positive.argmax(dim=1))
    right = p_clean[rows, target].clamp(FLOOR, 1.0)
    wrong = (1.0 - p_clean[rows, complementary]).clamp(FLOOR, 1.0)
    dual = -right.log().mean() - wrong.log().mean()
    if not selected.any():
        return dual, positive.sum() * 0.0
    return dual, make_loss("ce")(positive[selected], labels[selected]).mean()


def complementary_labels(
    labels: torch.Tensor, n_classes: int, generator: torch.Generator
) -> torch.Tensor:
    """One class a row, drawn uniformly from the K - 1 that are not the given label, shape (B,)."""
    shift = torch.randint(1, n_classes, labels.shape, generator=generator)
    return (labels + shift.to(labels.device)) % n_classes


class _DualPromptTuning(AbstractTrainable):
    """Positive and negative prompts over cached image features."""

    def __init__(
        self,
        data: FitData,
        backbone: AbstractBackbone,
        positive: PromptLearner,
        negative: PromptLearner,
        *,
        warmup_epochs: int,
    ):
        super().__init__()
        self.backbone = backbone
        self.positive = positive
        self.negative = negative
        self.features = torch.as_tensor(data.features, device=backbone.device)
        self.labels = torch.as_tensor(data.labels, device=backbone.device)
        self.n_classes = data.n_classes
        self.warmup_epochs = warmup_epochs

    def logits(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scaled similarities of rows to the positive and negative prompts, each (B, K)."""
        images = self.features[rows]
        scale = self.backbone.logit_scale
        positive = scale * images @ encode_prompts(self.backbone, self.positive).T
        negative = scale * images.detach() @ encode_prompts(self.backbone, self.negative).T
        return positive, negative

    def step(self, rows: torch.Tensor, epoch: int, generator: torch.Generator) -> torch.Tensor:
        labels = self.labels[rows]
        complementary = complementary_labels(labels, self.n_classes, generator)
        positive, negative = self.logits(rows)
        dual, similarity = dual_prompt_losses(
            positive, negative, labels, complementary, warm_up=epoch < self.warmup_epochs
        )
        return dual + similarity
