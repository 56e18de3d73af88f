"""Image classification models of transformers: any family, by hub id or directory."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from torch import nn

from ..core.device import resolve_device, resolve_dtype
from ..core.exceptions import InputError, MissingExtraError, ModelUnavailableError
from ..core.serialization import atomic_folder
from .base import AbstractBackbone, processor_digest
from .loading import _assemble, _family, _find, _hash_weights, _load_parts, _quiet
from .open_clip import SCHEMES, load_open_clip
from .preprocessing import Preprocessing
from .registry import BACKBONES

log = logging.getLogger(__name__)
MAE = "vit_mae"
HEAD_STD = 0.02


@dataclass(frozen=True)
class ImageModel:
    """The files of an image model; `build` makes a network of them.

    Attributes
    ----------
    model_id, origin, commit
        As of `AbstractBackbone`.
    model_type : str
        Of its configuration, such as "resnet".
    location : str
        Directory or hub id to load from.
    options : dict
        Of `from_pretrained`.
    device : torch.device
        Where networks are put.
    """

    model_id: str
    origin: str
    commit: str | None
    model_type: str
    location: str
    device: torch.device
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def fingerprint(self) -> str:
        """Identifies weights and preprocessing."""
        version = self.commit or _hash_weights(Path(self.location))
        return f"{self.model_id}@{version} {processor_digest(self.processor())}"

    def processor(self) -> Any:
        """The image processor; the one on PIL, which gives the same pixels everywhere."""
        from transformers import AutoImageProcessor

        with _quiet(), self._explained():
            return AutoImageProcessor.from_pretrained(self.location, backend="pil", **self.options)

    def preprocessing(self) -> Preprocessing:
        """The image processor, in a whole and in two halves."""
        return Preprocessing(self.processor())

    def build(self, class_names: Sequence[str], generator: torch.Generator) -> nn.Module:
        """The model in float32 with a new head for the classes, in evaluation mode.

        Parameters
        ----------
        class_names : sequence of str
            K names, for the configuration.
        generator : torch.Generator
            Draws the head; the global random state is left alone.

        Raises
        ------
        InputError
            If most weights of the encoder are not in the files.
        """
        seed = int(torch.randint(2**62, (), generator=generator))
        with torch.random.fork_rng(devices=[]):  # transformers fills what is missing from it
            torch.default_generator.manual_seed(seed)
            model, found = self._load(self._config(class_names))
        head = _head(model, len(class_names))
        _check_found(self.location, model, found, head)
        for layer in head:
            nn.init.normal_(layer.weight, std=HEAD_STD, generator=generator)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        return model.to(self.device)

    def restore(self) -> nn.Module:
        """The model as it was saved, with its head, in evaluation mode."""
        return self._load(None)[0].to(self.device)

    def _config(self, class_names: Sequence[str]) -> Any:
        from transformers import AutoConfig, ViTConfig

        with _quiet(), self._explained():
            config = AutoConfig.from_pretrained(self.location, **self.options)
        if self.model_type == MAE:  # the encoder is a plain ViT
            shared = ViTConfig().to_dict().keys() - {"model_type", "architectures"}
            config = ViTConfig(**{k: v for k, v in config.to_dict().items() if k in shared})
        config.id2label = dict(enumerate(class_names))
        config.label2id = {name: k for k, name in enumerate(class_names)}
        return config

    def _load(self, config: Any) -> tuple[Any, dict[str, Any]]:
        from transformers import AutoModelForImageClassification, ViTForImageClassification

        kind: Any = AutoModelForImageClassification
        if self.model_type == MAE:
            kind = ViTForImageClassification
        with _quiet(), self._explained():
            model, found = kind.from_pretrained(
                self.location,
                config=config,
                dtype=torch.float32,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                **self.options,
            )
        return model.eval(), found

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what transformers raises into our errors."""
        try:
            yield
        except ImportError as error:
            raise MissingExtraError(
                f"{self.location} needs a package that is not installed: {error}"
            ) from error
        except (OSError, ValueError, RuntimeError, SafetensorError) as error:
            known = ModelUnavailableError if self.commit else InputError
            raise known(f"the files of {self.location} cannot be loaded: {error}") from error


def load_encoder(
    model: str | Path | AbstractBackbone | ImageModel,
    *,
    device: str = "auto",
    dtype: str = "auto",
    offline: bool = False,
    revision: str | None = None,
) -> AbstractBackbone | ImageModel:
    """A vision-language model, loaded, or the files of an image classification model.

    Parameters
    ----------
    model, device, offline, revision
        See `load_backbone`; also any model of `AutoModelForImageClassification`, and masked
        autoencoders (ViT-MAE).
    dtype : str
        Precision of a vision-language model; image models are trained in float32.

    Raises
    ------
    ModelUnavailableError
        If the model is neither on this machine nor reachable.
    InputError
        If it is of no family that can be trained here.
    """
    if isinstance(model, AbstractBackbone | ImageModel):
        return model
    if str(model).startswith(SCHEMES):
        return load_open_clip(str(model), device=device, dtype=dtype, offline=offline)
    place = resolve_device(device)
    source = _find(str(model), offline=offline, revision=revision)
    kind = source.config.get("model_type")
    if kind in BACKBONES.entries:
        with _quiet():
            parts = _load_parts(source)
        return _assemble(_family(source), source, parts, place, resolve_dtype(dtype, place))
    from transformers.models.auto.modeling_auto import (
        MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES as FAMILIES,
    )

    if kind != MAE and kind not in FAMILIES:
        raise InputError(
            f"{source.location} has model type {kind!r}, which is neither a vision-language model "
            f"({', '.join(BACKBONES.names())}) nor an image classification model of transformers "
            "(vit, vit_mae, resnet, convnext, swin, dinov2, …)"
        )
    local = source.commit is None
    origin = str(Path(source.location).resolve()) if local else source.name
    return ImageModel(
        source.name, origin, source.commit, kind, source.location, place, source.options
    )


def save_image_model(model: Any, processor: Any, folder: Path) -> None:
    """Write a folder that transformers loads; whole or not at all."""
    with _quiet(), atomic_folder(folder, replace=True) as partial:
        model.save_pretrained(partial)
        processor.save_pretrained(partial)


def _head(model: Any, n_classes: int) -> list[nn.Linear]:
    """The linear layers that stand outside the encoder; else the last one of K outputs."""
    layers = [(n, m) for n, m in model.named_modules() if isinstance(m, nn.Linear)]
    encoder = f"{model.base_model_prefix}."
    outside = [m for n, m in layers if not n.startswith(encoder)]
    return outside or [m for _, m in layers if m.out_features == n_classes][-1:]


def _check_found(location: str, model: Any, found: dict[str, Any], head: list[nn.Linear]) -> None:
    """Refuse an encoder that is mostly random; name the rest."""
    new = {id(parameter) for layer in head for parameter in layer.parameters()}
    encoder = {name for name, p in model.named_parameters() if id(p) not in new}
    absent = set(found["missing_keys"]) | {key[0] for key in found["mismatched_keys"]}
    lost = sorted(encoder & absent)
    if 2 * len(lost) > len(encoder):
        raise InputError(
            f"{location} does not hold the weights of a {type(model).__name__}: {len(lost)} of "
            f"{len(encoder)} are missing, such as {lost[0]}; give a pre-trained image model"
        )
    if lost:
        log.warning("%s lacks %d weights, which start anew: %s", location, len(lost), lost[:3])
