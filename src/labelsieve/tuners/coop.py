"""CoOp: learn the context words of a prompt, with any loss."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from ..backbones import AbstractBackbone, augmented_features
from ..core.exceptions import InputError
from ..core.random import numpy_generator, torch_generator
from ..core.validation import IntArray, check_number
from ..losses import make_loss
from ..losses.registry import Loss
from ..prompts import PromptLearner, TextClassifier, cosines, encode_prompts
from .base import AbstractTuner
from .feature_training import given_plan, with_shots
from .image_side import ImageSide
from .inputs import FitData
from .plan import TrainingPlan, default_plan
from .training import AbstractTrainable, train


class CoOp(AbstractTuner):
    """Context optimisation (Zhou et al., IJCV 2022) on cached image features.

    The context tokens are learned, the class-name tokens and both encoders stay fixed; PTNL
    (ICCV 2023) shows that this resists label noise. With the default loss ``dspt`` the gradients
    of confidently mislabeled samples vanish as well.

    Parameters
    ----------
    backbone : str or AbstractBackbone
        Hub id, directory, or a loaded model.
    class_names : sequence of str, optional
        Needed when fitted to features.
    loss : str
        A name from `losses.LOSSES`.
    loss_params : dict, optional
        Parameters of the loss, such as ``{"q": 0.5}`` for ``gce``.
    initial_text : str or None
        Words whose token embeddings start the context; None draws `n_context` random tokens.
    n_context : int
        Number of context tokens M when `initial_text` is None.
    position : str
        Of the class name: "end", "middle" or "front".
    class_specific : bool
        One context a class (CSC) instead of a shared one.
    class_tokens : str
        What stands in the place of the class name, for the study of PTNL: "names", "random",
        "shuffled", "tuned" or "tuned-only"; see `PromptLearner`.
    shots : int, optional
        Images a class to train on, drawn at random; None uses all.
    n_views : int
        With more than one, each image is encoded in that many random crops and flips, and every
        step draws one of them; needs images, not bare features, and a frozen image encoder.
    visual_tuning : str
        How the image encoder is adapted meanwhile: "none" (its features are computed once), or a
        name from `visual_tuning.VISUAL_TUNINGS`; needs images.
    visual_tuning_params : dict, optional
        Its constructor arguments, such as ``{"n_prompts": 10}``.
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
    name_tokens_ : Tensor or None
        The learned tokens of all class names, (T, d), where class names are tuned.

    Examples
    --------
    >>> tuner = CoOp("mini-glyph", loss="gce", loss_params={"q": 0.5}, shots=16)
    """

    def __init__(
        self,
        backbone: str | AbstractBackbone = "openai/clip-vit-base-patch16",
        *,
        class_names: Sequence[str] | None = None,
        loss: str = "dspt",
        loss_params: dict[str, Any] | None = None,
        initial_text: str | None = "a photo of a",
        n_context: int = 16,
        position: str = "end",
        class_specific: bool = False,
        class_tokens: str = "names",
        shots: int | None = None,
        n_views: int = 1,
        visual_tuning: str = "none",
        visual_tuning_params: dict[str, Any] | None = None,
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
        self.loss = loss
        self.loss_params = loss_params
        self.initial_text = initial_text
        self.n_context = n_context
        self.position = position
        self.class_specific = class_specific
        self.class_tokens = class_tokens
        self.shots = shots
        self.n_views = n_views
        self.visual_tuning = visual_tuning
        self.visual_tuning_params = visual_tuning_params
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.warmup_epochs = warmup_epochs
        self.precision = precision
        self.random_state = random_state

    def training(
        self, data: FitData, backbone: AbstractBackbone
    ) -> tuple[FitData, _PromptTuning, TrainingPlan]:
        """What `train` gets: the rows, the module and the plan; for analyses that look on.

        Parameters
        ----------
        data : FitData
            Usable rows; the shots are drawn from them.
        backbone : AbstractBackbone
            The loaded model.
        """
        generator = numpy_generator(self.random_state)
        data = with_shots(data, self.shots, generator)
        learner = PromptLearner(
            backbone,
            data.prompt_names,
            n_context=self.n_context,
            position=self.position,
            class_specific=self.class_specific,
            initial_text=self.initial_text,
            class_tokens=self.class_tokens,
            generator=torch_generator(generator),
        )
        module = _PromptTuning(
            self._image_side(data, backbone, torch_generator(generator)),
            data.labels,
            backbone,
            learner,
            make_loss(self.loss, **self.loss_params or {}),
        )
        scale, few_shot = backbone.logit_scale, self.shots is not None
        plan = default_plan(len(data.labels), scale, few_shot=few_shot)
        return data, module, given_plan(plan, self)

    def _fit(
        self, data: FitData, backbone: AbstractBackbone, checkpoint: Path | None
    ) -> TextClassifier:
        data, module, plan = self.training(data, backbone)
        params = {k: v for k, v in self.get_params(deep=False).items() if k != "backbone"}
        with module.images.active():
            self.history_ = train(
                module,
                len(data.labels),
                plan,
                random_state=self.random_state,
                checkpoint=checkpoint,
                identity=[params, backbone.fingerprint, data.digest()],
                description=f"tuning prompts ({self.loss})",
            )
        self.context_ = module.learner.context.detach()
        names = module.learner.name_tokens
        self.name_tokens_ = None if names is None else names.detach()
        self.visual_tuning_ = module.images.tuning
        with torch.no_grad():
            weights = encode_prompts(backbone, module.learner)
        return TextClassifier(weights, data.class_names, backbone.logit_scale, backbone.logit_bias)

    def check(self) -> None:
        """Raise `InputError` for arguments that no data can make usable; `fit` calls it first."""
        super().check()
        check_number(self.n_views, name="n_views", low=1, integer=True)

    def _image_side(
        self, data: FitData, backbone: AbstractBackbone, generator: torch.Generator
    ) -> ImageSide:
        """Where the features come from: see `visual_tuning` and `n_views`."""
        side = ImageSide(data, backbone, self.visual_tuning, self.visual_tuning_params, generator)
        if self.n_views == 1:
            return side
        if data.images is None or side.tuning is not None:
            raise InputError(
                f"n_views={self.n_views} needs images to augment and a frozen image encoder; "
                'pass images and visual_tuning="none", or n_views=1'
            )
        side.views = torch.as_tensor(
            augmented_features(data.images, backbone, self.n_views, self.random_state),
            device=backbone.device,
        )
        return side

    def _tensors(self) -> dict[str, torch.Tensor]:
        tensors = {**super()._tensors(), "context": self.context_}
        if self.name_tokens_ is not None:
            tensors["name_tokens"] = self.name_tokens_
        return tensors

    def _restore(self, config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        super()._restore(config, tensors)
        self.name_tokens_ = tensors.get("name_tokens")


class _PromptTuning(AbstractTrainable):
    """Mean loss of image features against the current text features."""

    def __init__(
        self,
        images: ImageSide,
        labels: IntArray,
        backbone: AbstractBackbone,
        learner: PromptLearner,
        loss: Loss,
    ):
        super().__init__()
        self.images = images
        self.learner = learner
        self.backbone = backbone
        self.labels = torch.as_tensor(labels, device=backbone.device)
        self.loss = loss

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        self.images.begin_epoch(generator)

    def step(self, rows: torch.Tensor, epoch: int, generator: torch.Generator) -> torch.Tensor:
        text = encode_prompts(self.backbone, self.learner)
        scores = cosines(self.images(rows, generator), text)
        logits = self.backbone.logit_scale * scores + self.backbone.logit_bias
        return self.loss(logits, self.labels[rows]).mean()
