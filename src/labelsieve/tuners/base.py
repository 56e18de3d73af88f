"""The contract of tuners: fit, predict, save, load."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from sklearn.base import BaseEstimator, ClassifierMixin

from ..backbones import AbstractBackbone, load_backbone
from ..core.device import own_defaults
from ..core.exceptions import NotFittedError
from ..core.fitted import as_before_on_failure
from ..core.serialization import save_tensors, write_json, write_text
from ..core.validation import BoolArray, FloatArray, IntArray
from ..core.version import __version__
from ..prompts import TextClassifier
from ..visual_tuning import AbstractVisualTuning, make_visual_tuning
from .checks import check_arguments
from .inputs import FitData, fit_data, image_features
from .saved import FORMAT, model_card


class AbstractTuner(ClassifierMixin, BaseEstimator):
    """Base of all tuners: an image classifier, fitted to given labels.

    Subclasses state their own constructor arguments and define `_fit`. Labels are class indices;
    `class_names_` tells their names. The methods from `_load` on are hooks for tuners whose
    classifier is not made of text features.

    Attributes
    ----------
    classifier_ : TextClassifier
        The fitted class weights, (K, D), over image features.
    visual_tuning_ : AbstractVisualTuning or None
        How the image encoder was adapted, if it was.
    class_names_, prompt_names_ : tuple of str
        Class names in label order, and the words used in prompts.
    history_ : list of dict
        One record an epoch; empty without training.
    backbone_ : AbstractBackbone
        The loaded model.
    """

    backbone: Any
    class_names: Sequence[str] | None
    needs_labels: ClassVar[bool] = True
    """Whether rows without a given label are left out; without need, no label is looked at."""

    classifier_: Any
    history_: list[dict[str, float]]
    visual_tuning_: AbstractVisualTuning | None = None

    @own_defaults()
    def fit(self, X: Any, y: Any = None, *, checkpoint: Path | None = None) -> Any:
        """Fit to images, or to features (N, D) with class indices (N,).

        Parameters
        ----------
        X : LabeledImages, ImageFeatures or array of shape (N, D)
            Images or features. Rows that cannot be read or carry no label are left out.
        y : array of int or LabeledImages, optional
            Given labels, -1 where one is missing; by default those of the images.
        checkpoint : Path, optional
            Folder in which training keeps its state, to resume after an interruption.

        Returns
        -------
        self

        Raises
        ------
        InputError
            If the data or the parameters cannot be used.
        """
        self.check()
        backbone = self._load(self.backbone)
        return self.fit_usable(self._usable(X, y, backbone), backbone, checkpoint)

    def check(self) -> None:
        """Raise `InputError` for arguments that no data can make usable; `fit` calls it first."""
        check_arguments(self)

    def fit_usable(
        self, data: FitData, backbone: AbstractBackbone, checkpoint: Path | None = None
    ) -> Any:
        """Fit to rows that are already checked and encoded; what `fit` and detectors call."""
        with as_before_on_failure(self):
            self.backbone_ = backbone
            self.class_names_, self.prompt_names_ = data.class_names, data.prompt_names
            self.history_ = []
            self.classifier_ = self._fit(data, backbone, checkpoint)
        return self

    @abstractmethod
    def _fit(self, data: FitData, backbone: Any, checkpoint: Path | None) -> Any:
        """Fit to usable rows and return the classifier; may set further `*_` attributes."""

    def _load(self, backbone: Any, **options: Any) -> Any:
        """The model behind `backbone`, with the options of `load_backbone`."""
        return load_backbone(backbone, **options)

    def _usable(self, X: Any, y: Any, backbone: Any) -> FitData:
        """The rows that can be fitted."""
        return fit_data(X, y, backbone, self.class_names, needs_labels=self.needs_labels)

    def _probabilities(self, X: Any) -> tuple[FloatArray, BoolArray]:
        """Class probabilities (N, K) and which rows could be read (N,)."""
        found = image_features(X, self.backbone_, self.visual_tuning_)
        return self.classifier_.predict_proba(found.features), found.ok

    @own_defaults()
    def predict_proba(self, X: Any) -> FloatArray:
        """Class probabilities (N, K), float32; NaN in rows whose image cannot be read.

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        if not hasattr(self, "classifier_"):
            raise NotFittedError(f"{type(self).__name__} is not fitted; call fit first")
        probabilities, readable = self._probabilities(X)
        probabilities[~readable] = np.nan
        return probabilities

    def predict(self, X: Any) -> IntArray:
        """Most probable class indices (N,); -1 in rows whose image cannot be read."""
        probabilities = self.predict_proba(X)
        readable = ~np.isnan(probabilities[:, 0])
        return np.where(readable, np.nan_to_num(probabilities).argmax(axis=1), -1)

    def save(self, folder: Path | str) -> Path:
        """Write config.json, model.safetensors and README.md (a model card) to a folder.

        Raises
        ------
        NotFittedError
            Before `fit`.
        """
        if not hasattr(self, "classifier_"):
            raise NotFittedError(f"{type(self).__name__} is not fitted; call fit first")
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        config = self._config()
        if tensors := self._tensors():
            save_tensors(folder / "model.safetensors", tensors)
        write_text(folder / "README.md", model_card(config))
        write_json(folder / "config.json", config)
        return folder

    def _tensors(self) -> dict[str, torch.Tensor]:
        """What model.safetensors holds."""
        tensors = {"class_weights": self.classifier_.weights}
        if self.visual_tuning_ is not None:
            state = self.visual_tuning_.state_dict()
            tensors |= {f"visual_tuning.{name}": value for name, value in state.items()}
        return tensors

    def _config(self) -> dict[str, Any]:
        """What config.json holds."""
        params = self.get_params(deep=False)
        for name in ("backbone", "class_names"):
            params.pop(name)
        return {
            "format": FORMAT,
            "labelsieve": __version__,
            "tuner": self.name,
            "params": params,
            "model": {
                "id": self.backbone_.model_id,
                "origin": self.backbone_.origin,
                "commit": self.backbone_.commit,
            },
            "class_names": list(self.class_names_),
            "prompt_names": list(self.prompt_names_),
            "history": self.history_,
        } | self._head_config()

    def _head_config(self) -> dict[str, Any]:
        """What else the classifier is made of, beside the tensors."""
        return {
            "logit_scale": self.classifier_.logit_scale,
            "logit_bias": self.classifier_.logit_bias,
        }

    def _restore(self, config: dict[str, Any], tensors: dict[str, torch.Tensor]) -> None:
        """Set the fitted attributes from what was saved; `backbone_` is already there."""
        self.classifier_ = TextClassifier(
            tensors["class_weights"],
            self.class_names_,
            config["logit_scale"],
            config["logit_bias"],
        )
        if "context" in tensors:
            self.context_ = tensors["context"]
        if config["params"].get("visual_tuning", "none") != "none":
            self.visual_tuning_ = make_visual_tuning(
                config["params"]["visual_tuning"],
                self.backbone_,
                generator=torch.Generator(),
                params=config["params"].get("visual_tuning_params"),
            )
            assert self.visual_tuning_ is not None
            prefix = "visual_tuning."
            self.visual_tuning_.load_state_dict(
                {k[len(prefix) :]: v for k, v in tensors.items() if k.startswith(prefix)}
            )
            self.visual_tuning_.eval()

    @property
    def classes_(self) -> IntArray:
        """The class of each column of `predict_proba`, for scikit-learn; (K,)."""
        return np.arange(len(self.class_names_))

    @property
    def name(self) -> str:
        """The name under which this tuner is registered."""
        from .registry import TUNERS

        path = f"{type(self).__module__}:{type(self).__name__}"
        return next((n for n, p in TUNERS.entries.items() if p == path), type(self).__name__)
