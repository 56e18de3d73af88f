"""DeFT's dual prompts: the negative prompt is a learned threshold for the positive one."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..backbones import AbstractBackbone
from ..core.random import numpy_generator, torch_generator
from ..core.validation import IntArray, check_choice, check_number
from ..losses import make_loss
from ..prompts import PromptLearner, TextClassifier, encode_prompts, encode_together
from ..selection.calibration import calibrate_scores, calibration_rows
from ..tuners.coop import CoOp
from ..tuners.image_side import ImageSide
from ..tuners.inputs import FitData, image_features
from ..tuners.training import TrainingPlan, train
from .base import AbstractDetector, Detection
from .dual_prompt_margins import Logits, margins
from .dual_prompt_training import DualPromptTuning
from .scorers import DualPromptScorer

log = logging.getLogger(__name__)
MASKS = ("final", "last-epoch")


class DualPrompts(AbstractDetector):
    """Phase 1 of DeFT (Wei et al., NeurIPS 2024): noisy label detection by dual prompts.

    Two contexts are learned: the positive prompts classify, the negative prompt of the given
    class is a threshold of its own for every sample. A label is clean where its positive
    similarity is strictly above its negative one. Meanwhile the image encoder may be adapted by a
    parameter-efficient visual tuning. Where the negative prompt wins for every class, the image
    fits none and is to be dropped. Two additions, `fitted_scale` and `LONGEST_GRADIENT`, keep the
    classes apart where the model is surer than its labels are right.

    Parameters
    ----------
    backbone : str or AbstractBackbone
        Hub id, directory, or a loaded model.
    class_names : sequence of str, optional
        Needed when fitted to features.
    visual_tuning : str
        "none" (image features are computed once), or a name from `VISUAL_TUNINGS`, which needs
        images.
    visual_tuning_params : dict, optional
        Constructor arguments of the visual tuning.
    initial_text : str or None
        Words whose token embeddings start the positive context; the negative one is drawn at
        random. None draws both, as the paper does.
    n_context : int
        Context tokens M where drawn at random.
    epochs, batch_size, lr, momentum, weight_decay, accumulate, precision
        See `TrainingPlan`; no warm-up of the learning rate.
    warmup_epochs : int
        First epochs in which every label counts as clean.
    warmup_loss : str
        Loss of the positive prompts in these epochs; the authors use "sce" on real noise.
    agreement : bool
        Also require that the given class has the largest clean probability, the authors' rule for
        real noise.
    mask : {"final", "last-epoch"}
        Judge by one pass with the final prompts and unchanged images; or, as the authors' code,
        by each sample's step in the last epoch, augmented and with prompts still moving.
    random_state : int
        Decides the contexts, the complementary labels and the order of samples.

    Attributes
    ----------
    largest_margin_ : ndarray of float64, shape (n_usable,)
        The largest of a row's margins, positive minus negative logit, over the classes; at most 0
        where no class fits.
    raw_p_clean_ : ndarray of float64, shape (n_usable,)
        The paper's clean probability, before calibration (`selection.calibration`).
    noise_matrix_ : ndarray, shape (K, K)
        P(given | true) as the calibration estimates it; rows are true classes.
    classifier_ : CoOp
        The positive prompts with the adapted encoder; predicts, saves and loads.

    Examples
    --------
    >>> detector = DualPrompts("mini-glyph", visual_tuning="lora", epochs=10)
    """

    def __init__(
        self,
        backbone: str | AbstractBackbone = "openai/clip-vit-base-patch16",
        *,
        class_names: Sequence[str] | None = None,
        visual_tuning: str = "none",
        visual_tuning_params: dict[str, Any] | None = None,
        initial_text: str | None = "a photo of a",
        n_context: int = 16,
        epochs: int = 10,
        batch_size: int = 64,
        lr: float = 0.03,
        momentum: float = 0.9,
        weight_decay: float = 5e-4,
        accumulate: int = 1,
        precision: str = "float32",
        warmup_epochs: int = 1,
        warmup_loss: str = "ce",
        agreement: bool = False,
        mask: str = "final",
        random_state: int = 0,
    ):
        self.backbone = backbone
        self.class_names = class_names
        self.visual_tuning = visual_tuning
        self.visual_tuning_params = visual_tuning_params
        self.initial_text = initial_text
        self.n_context = n_context
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.accumulate = accumulate
        self.precision = precision
        self.warmup_epochs = warmup_epochs
        self.warmup_loss = warmup_loss
        self.agreement = agreement
        self.mask = mask
        self.random_state = random_state

    def check(self) -> None:
        """Raise `InputError` for arguments that no data can make usable; `fit` calls it first."""
        super().check()
        # Prompts that were never tuned are no threshold: nearly every label would be an issue.
        check_number(self.epochs, name="epochs", low=1, integer=True)
        check_choice(self.mask, MASKS, name="mask")
        make_loss(self.warmup_loss)

    @property
    def by_features(self) -> bool:
        """Whether further rows can be judged, which takes no more than their features."""
        return self.visual_tuning == "none" and self.mask == "final"

    def _detect(
        self, data: FitData, backbone: AbstractBackbone, checkpoint: Path | None
    ) -> Detection:
        if self.warmup_epochs >= self.epochs:
            log.warning(
                "every epoch is warm-up (epochs=%d, warmup_epochs=%d): no label is doubted in "
                "training; take more epochs",
                self.epochs,
                self.warmup_epochs,
            )
        module = self._module(data, backbone)
        params = {k: v for k, v in self.get_params(deep=False).items() if k != "backbone"}
        with module.images.active():
            self.history_ = train(
                module,
                len(data.labels),
                self._plan(),
                random_state=self.random_state,
                checkpoint=checkpoint,
                identity=[params, backbone.fingerprint, data.digest()],
                description="tuning dual prompts",
            )
        self.classifier_ = self._classifier(module, data, backbone)
        logits, lost = self._final_logits(module, data, backbone)
        self.scorer_ = self._scorer(module, backbone) if self.by_features else None
        last = None
        if self.mask == "last-epoch":
            last = module.seen.cpu().double(), module.agreed.cpu()
        found = self._judge(logits, data.labels, data.n_classes, last)
        for row, error in lost.items():  # readable before the training, but no longer
            data.errors[int(data.rows[row])] = error
            found.is_label_issue[row] = False
            for values in (found.label_score, found.probabilities, found.p_clean):
                values[row] = np.nan  # type: ignore[index]
        return found

    def _module(self, data: FitData, backbone: AbstractBackbone) -> DualPromptTuning:
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
        images = ImageSide(
            data,
            backbone,
            self.visual_tuning,
            self.visual_tuning_params,
            torch_generator(generator),
        )
        return DualPromptTuning(
            images,
            data,
            *prompts,
            warmup_epochs=self.warmup_epochs,
            warmup_loss=self.warmup_loss,
            agreement=self.agreement,
        )

    def _plan(self) -> TrainingPlan:
        return TrainingPlan(
            self.epochs,
            self.batch_size,
            self.lr,
            self.momentum,
            self.weight_decay,
            warmup_epochs=0,
            accumulate=self.accumulate,
            precision=self.precision,
        )

    def _classifier(
        self, module: DualPromptTuning, data: FitData, backbone: AbstractBackbone
    ) -> CoOp:
        """The positive prompts as a fitted tuner."""
        tuner = CoOp(
            backbone,
            loss="ce",
            initial_text=self.initial_text,
            n_context=self.n_context,
            visual_tuning=self.visual_tuning,
            visual_tuning_params=self.visual_tuning_params,
            epochs=self.epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            momentum=self.momentum,
            weight_decay=self.weight_decay,
            warmup_epochs=0,
            precision=self.precision,
            random_state=self.random_state,
        )
        with torch.no_grad():
            weights = encode_prompts(backbone, module.positive)
        tuner.backbone_ = backbone
        tuner.class_names_, tuner.prompt_names_ = data.class_names, data.prompt_names
        tuner.history_ = self.history_
        tuner.context_, tuner.name_tokens_ = module.positive.context.detach(), None
        tuner.visual_tuning_ = module.images.tuning
        tuner.classifier_ = TextClassifier(
            weights, data.class_names, backbone.logit_scale, backbone.logit_bias
        )
        return tuner

    def _final_logits(
        self, module: DualPromptTuning, data: FitData, backbone: AbstractBackbone
    ) -> tuple[Logits, dict[int, str]]:
        """Of any rows of the unchanged images, with the final parameters: two of shape (B, K).

        Also why rows cannot be encoded, where the encoder was adapted.
        """
        features, lost = data.features, {}
        if module.images.tuning is not None:
            found = image_features(data.images, backbone, module.images.tuning)
            features, lost = found.features, found.errors
        with torch.no_grad():
            texts = encode_together(backbone, [module.positive, module.negative])

        def logits(rows: Any) -> tuple[torch.Tensor, torch.Tensor]:
            scaled = backbone.logit_scale * torch.as_tensor(features[rows], device=backbone.device)
            return (scaled @ texts[0].T).cpu(), (scaled @ texts[1].T).cpu()

        return logits, lost

    def _scorer(self, module: DualPromptTuning, backbone: AbstractBackbone) -> DualPromptScorer:
        """Both prompts as text features, for rows that were not fitted."""
        with torch.no_grad():
            texts = [encode_prompts(backbone, p).cpu() for p in (module.positive, module.negative)]
        scale = float(backbone.logit_scale)
        return DualPromptScorer(scale * texts[0], scale * texts[1], self.agreement)

    def _judge(
        self,
        logits: Logits,
        labels: IntArray,
        n_classes: int,
        last: tuple[torch.Tensor, torch.Tensor] | None,
    ) -> Detection:
        """Clean where the positive logit is strictly above the negative one, in chunks of rows."""
        margin, largest, agrees, p = margins(logits, labels, n_classes)
        if last is not None:
            margin, agrees = last
        clean = margin > 0
        if self.agreement:
            clean &= agrees
        # sigmoid saturates in the tails; a squashed margin keeps their order in 0..1
        score = (0.5 + 0.5 * margin / (1 + margin.abs())).numpy()
        some = logits(calibration_rows(len(labels)))[0].numpy()
        p_clean, self.noise_matrix_ = calibrate_scores(score, some, labels)
        self.largest_margin_ = largest.numpy()
        self.raw_p_clean_ = np.clip(torch.sigmoid(margin).numpy(), 0, 1)
        return Detection(
            score,
            ~clean.numpy(),
            p,
            p_clean,
            fits_no_class=((largest <= 0) & ~clean).numpy(),
        )
