"""Zero-shot classification: the class names are all it needs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..backbones import AbstractBackbone
from ..prompts import TextClassifier, resolve_templates, zero_shot_classifier
from .base import AbstractTuner
from .inputs import FitData


class ZeroShot(AbstractTuner):
    """CLIP's zero-shot classifier (Radford et al., ICML 2021); the given labels are not used.

    Parameters
    ----------
    backbone : str or AbstractBackbone
        Hub id, directory, or a loaded model.
    class_names : sequence of str, optional
        Needed when fitted to features.
    templates : str or sequence of str
        A name from `prompts.templates.TEMPLATES` ("default", "ensemble", …) or templates with
        ``{}`` for the class name; several are averaged in feature space.

    Examples
    --------
    >>> tuner = ZeroShot("mini-glyph", templates="ensemble")
    """

    def __init__(
        self,
        backbone: str | AbstractBackbone = "openai/clip-vit-base-patch16",
        *,
        class_names: Sequence[str] | None = None,
        templates: str | Sequence[str] = "default",
    ):
        self.backbone = backbone
        self.class_names = class_names
        self.templates = templates

    def _fit(
        self, data: FitData, backbone: AbstractBackbone, checkpoint: Path | None
    ) -> TextClassifier:
        templates = resolve_templates(self.templates)
        classifier = zero_shot_classifier(backbone, data.prompt_names, templates)
        return replace(classifier, class_names=data.class_names)
