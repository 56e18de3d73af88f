"""CLIP label-match: a label is suspect where the zero-shot prediction disagrees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..backbones import AbstractBackbone
from ..prompts import resolve_templates, zero_shot_classifier
from ..tuners.inputs import FitData
from .base import AbstractDetector, Detection
from .scorers import LabelMatchScorer


class LabelMatch(AbstractDetector):
    """Compare given labels with the model's zero-shot predictions; nothing is trained.

    The label score is the zero-shot probability of the given label. The CLIP label-match baseline
    of DeFT (NeurIPS 2024).

    Parameters
    ----------
    backbone : str or AbstractBackbone
        Hub id, directory, or a loaded model.
    class_names : sequence of str, optional
        Needed when fitted to features.
    templates : str or sequence of str
        A name from `prompts.templates.TEMPLATES`, or templates with ``{}``.

    Examples
    --------
    >>> detector = LabelMatch("mini-glyph", templates="ensemble")
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

    def _detect(
        self, data: FitData, backbone: AbstractBackbone, checkpoint: Path | None
    ) -> Detection:
        templates = resolve_templates(self.templates)
        classifier = zero_shot_classifier(backbone, data.prompt_names, templates)
        self.scorer_ = LabelMatchScorer(classifier)
        return self.scorer_(data.features, data.labels)
