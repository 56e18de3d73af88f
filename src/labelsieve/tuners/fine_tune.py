"""Fine-tuning of an image encoder with a linear head: DeFT's second phase and its baselines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.special import softmax

from ..backbones import AbstractBackbone, extract_features
from ..backbones.image_models import ImageModel, load_encoder
from ..backbones.pixels import MAX_BYTES, TrainingPixels
from ..core.device import resolve_precision
from ..core.exceptions import InputError
from ..core.random import torch_generator
from ..core.validation import (
    BoolArray,
    FloatArray,
)
from ..data import LabeledImages
from ..data.labels import check_given_labels
from .base import AbstractTuner
from .baseline import Baseline
from .checks import check_arguments
from .inputs import FitData, labelled, names_and_words
from .networks import AbstractNetwork, HubNetwork, make_network
from .pixel_training import PixelTraining
from .recipes import fine_tuning_plan
from .saved import NETWORK
from .training import train


class FineTune(AbstractTuner):
    """An image encoder and a linear head, trained on images with given labels.

    With clean labels and the baseline "ce" it is the model adaptation of DeFT (Wei et al.,
    NeurIPS 2024); on noisy labels, the baselines it is compared with.

    Parameters
    ----------
    backbone : str, AbstractBackbone or ImageModel
        Hub id or directory of a vision-language model, whose vision tower is taken, or of an image
        classification model of transformers, or what `load_encoder` made of it.
    class_names : sequence of str, optional
        Replace those of the images.
    visual_tuning : str
        What is trained of a vision-language model's tower beside the head: "full" (all blocks), a
        name from `VISUAL_TUNINGS`, or "none" (the head alone). Other models are trained in full.
    visual_tuning_params : dict, optional
        Its hyper-parameters.
    baseline : str
        A loss ("ce", "sce", …), "elr" (early-learning regularisation), "gmm" (from `warmup_epochs`
        on, train on the lower component of a loss mixture, as the co-divide of DivideMix) or
        "small-loss" (of each batch, leave out the share `noise_rate` with the largest losses).
    noise_rate : float, optional
        The known share of wrong labels; for "small-loss".
    warmup_epochs : int
        Epochs without selection ("gmm"), or of a rising one ("small-loss").
    augment : bool
        Random shifts and flips.
    epochs, batch_size, accumulate, precision
        See `TrainingPlan`; precision "auto" is bfloat16 on CUDA.
    optimizer, lr, momentum, weight_decay : optional
        Unset, those of the encoder's family, see `recipes`. The rate follows a cosine.
    random_state : int
        Decides the head, the order and the augmentation.

    Attributes
    ----------
    classifier_ : AbstractNetwork
        The trained network.
    n_unreadable_ : int
        Images with weight 0, since this process could not read them.

    Examples
    --------
    >>> tuner = FineTune("mini-glyph", baseline="small-loss", noise_rate=0.2)
    """

    def __init__(
        self,
        backbone: str | AbstractBackbone | ImageModel = "openai/clip-vit-base-patch16",
        *,
        class_names: Sequence[str] | None = None,
        visual_tuning: str = "full",
        visual_tuning_params: dict[str, Any] | None = None,
        baseline: str = "ce",
        noise_rate: float | None = None,
        warmup_epochs: int = 1,
        augment: bool = True,
        epochs: int = 10,
        batch_size: int = 64,
        accumulate: int = 1,
        precision: str = "auto",
        optimizer: str | None = None,
        lr: float | None = None,
        momentum: float | None = None,
        weight_decay: float | None = None,
        random_state: int = 0,
    ):
        self.backbone = backbone
        self.class_names = class_names
        self.visual_tuning = visual_tuning
        self.visual_tuning_params = visual_tuning_params
        self.baseline = baseline
        self.noise_rate = noise_rate
        self.warmup_epochs = warmup_epochs
        self.augment = augment
        self.epochs = epochs
        self.batch_size = batch_size
        self.accumulate = accumulate
        self.precision = precision
        self.optimizer = optimizer
        self.lr = lr
        self.momentum = momentum
        self.weight_decay = weight_decay
        self.random_state = random_state

    def fit(
        self, X: Any, y: Any = None, *, checkpoint: Path | None = None, accelerator: Any = None
    ) -> Any:
        """Fit to images.

        Parameters
        ----------
        X : LabeledImages
            Images; rows that cannot be read or carry no label are left out. Their features will do
            where `y` are the images.
        y : array of int, shape (N,), or LabeledImages, optional
            Labels in place of those of `X`; -1 where one is missing.
        checkpoint : Path, optional
            Folder in which training keeps its state, to resume after an interruption.
        accelerator : accelerate.Accelerator, optional
            Shares the training among its processes; all must call this with the same images.

        Returns
        -------
        self

        Raises
        ------
        InputError
            If the data or the parameters cannot be used.
        """
        self._accelerator = accelerator
        try:
            return super().fit(X, y, checkpoint=checkpoint)
        finally:
            del self._accelerator

    def check(self) -> None:
        """Raise `InputError` for arguments that no data can make usable; `fit` calls it first."""
        precision = resolve_precision(self.precision, torch.device("cpu"))  # "auto" is one here
        check_arguments(self, precision=precision)
        self._doubt().check()

    def _doubt(self) -> Baseline:
        return Baseline(self.baseline, self.warmup_epochs, self.noise_rate, self.random_state)

    def _load(self, backbone: Any, **options: Any) -> Any:
        return load_encoder(backbone, **options)

    def _usable(self, X: Any, y: Any, backbone: Any) -> FitData:
        images = X if isinstance(X, LabeledImages) else y
        if not isinstance(images, LabeledImages):
            raise InputError("fine-tuning looks at pixels; pass images, not features")
        named = labelled(X, y, self.class_names)
        names, words = names_and_words(named, self.class_names)
        labels = check_given_labels(named.given_labels, len(names), len(images))
        usable = np.flatnonzero(labels >= 0)
        found = np.unique(labels[usable])
        if len(found) < 2:
            raise InputError(
                "a classifier needs images of at least two classes, but the labels name "
                f"{', '.join(names[k] for k in found) or 'none'}"
            )
        nothing = np.zeros((len(usable), 0), dtype=np.float32)
        return FitData(
            nothing, labels[usable], usable, len(images), names, words, images=images.subset(usable)
        )

    def _fit(self, data: FitData, backbone: Any, checkpoint: Path | None) -> AbstractNetwork:
        assert data.images is not None
        accelerator = getattr(self, "_accelerator", None)
        plan = self._plan(backbone)
        network = self._network(backbone, data.class_names, torch_generator(self.random_state))
        pixels = self._pixels(data, network)
        module = PixelTraining(
            network,
            pixels,
            data.labels,
            self._doubt(),
            precision=plan.precision,
            accelerator=accelerator,
        )
        params = {k: v for k, v in self.get_params(deep=False).items() if k != "backbone"}
        with network.active():
            self.history_ = train(
                module,
                len(data.labels),
                plan,
                random_state=self.random_state,
                checkpoint=checkpoint,
                identity=[params, backbone.fingerprint, data.digest(), list(data.images.ids)],
                description=f"fine-tuning ({self.baseline})",
                accelerator=accelerator,
            )
        self.n_unreadable_ = len(pixels.broken)
        self.visual_tuning_ = getattr(network, "tuning", None)
        return network.eval()

    def _plan(self, backbone: Any) -> Any:
        named = ("epochs", "batch_size", "accumulate", "optimizer")
        named += ("lr", "momentum", "weight_decay")
        given = {name: getattr(self, name) for name in named}
        given["precision"] = resolve_precision(self.precision, backbone.device)
        of_image = isinstance(backbone, ImageModel)
        family = backbone.model_type if of_image else backbone.model.config.model_type
        return fine_tuning_plan(family, visual_tuning=self.visual_tuning, given=given)

    def _network(
        self, backbone: Any, class_names: Sequence[str], generator: torch.Generator
    ) -> AbstractNetwork:
        """The untrained network."""
        return make_network(
            backbone,
            class_names,
            visual_tuning=self.visual_tuning,
            visual_tuning_params=self.visual_tuning_params,
            generator=generator,
        )

    def _pixels(self, data: FitData, network: AbstractNetwork) -> TrainingPixels:
        accelerator = getattr(self, "_accelerator", None)
        n_processes = 1 if accelerator is None else accelerator.num_processes
        room = MAX_BYTES // n_processes
        pixels = TrainingPixels(
            data.images,
            network.preprocessing,
            augment=self.augment,
            max_bytes=room,
            device=network.device,
        )
        if len(pixels.broken) == len(data.labels):
            raise InputError(
                f"none of the {len(data.labels)} images can be read, for example: "
                f"{next(iter(pixels.broken.values()))}"
            )
        return pixels

    def _probabilities(self, X: Any) -> tuple[FloatArray, BoolArray]:
        if not isinstance(X, LabeledImages):
            raise InputError("this classifier looks at pixels; pass images, not features")
        with self.classifier_.active():
            found = extract_features(X, self.classifier_)
        return softmax(found.features, axis=1), found.ok

    def save(self, folder: Path | str) -> Path:
        """Write what `AbstractTuner.save` does; an image model goes whole into ``network/``."""
        network = getattr(self, "classifier_", None)
        if isinstance(network, HubNetwork):
            network.save(Path(folder) / NETWORK)
        return super().save(folder)

    def _tensors(self) -> dict[str, torch.Tensor]:
        return {} if isinstance(self.classifier_, HubNetwork) else self.classifier_.state_dict()

    def _head_config(self) -> dict[str, Any]:
        return {"network": NETWORK} if isinstance(self.classifier_, HubNetwork) else {}

    def _restore(self, config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        saved = self.backbone_
        if isinstance(saved, ImageModel):
            self.classifier_ = HubNetwork(saved, saved.restore(), len(self.class_names_))
            model = config["model"]
            self.backbone_ = replace(
                saved, model_id=model["id"], origin=model["origin"], commit=model["commit"]
            )
            return
        network = self._network(saved, self.class_names_, torch.Generator())
        network.load_state_dict(tensors)
        self.classifier_ = network.eval()
        self.visual_tuning_ = getattr(network, "tuning", None)
