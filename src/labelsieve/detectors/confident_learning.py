"""Confident learning on out-of-sample probabilities of a probe over image features."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..backbones import AbstractBackbone
from ..core.validation import check_number
from ..selection.confident_learning import prune_by_noise_rate
from ..selection.out_of_sample import out_of_sample_probabilities
from ..tuners.inputs import FitData
from .base import AbstractDetector, Detection


class ConfidentLearning(AbstractDetector):
    """Confident learning (Northcutt et al., JAIR 2021) with a cross-validated linear probe.

    Our own statement of the method that cleanlab made known, pruning by noise rate. The label
    score is the out-of-sample probability of the given label (self-confidence).

    Parameters
    ----------
    backbone : str or AbstractBackbone
        Hub id, directory, or a loaded model.
    class_names : sequence of str, optional
        Needed when fitted to features.
    n_folds : int
        Folds of the cross-validation.
    random_state : int
        Decides the folds.

    Examples
    --------
    >>> detector = ConfidentLearning("mini-glyph", n_folds=5)
    """

    def __init__(
        self,
        backbone: str | AbstractBackbone = "openai/clip-vit-base-patch16",
        *,
        class_names: Sequence[str] | None = None,
        n_folds: int = 5,
        random_state: int = 0,
    ):
        self.backbone = backbone
        self.class_names = class_names
        self.n_folds = n_folds
        self.random_state = random_state

    def check(self) -> None:
        """Raise `InputError` for arguments that no data can make usable; `fit` calls it first."""
        super().check()
        check_number(self.n_folds, name="n_folds", low=2, integer=True)

    def _detect(
        self, data: FitData, backbone: AbstractBackbone, checkpoint: Path | None
    ) -> Detection:
        p = out_of_sample_probabilities(
            data.features,
            data.labels,
            data.n_classes,
            n_folds=self.n_folds,
            random_state=self.random_state,
        )
        p_given = p[np.arange(len(p)), data.labels]
        return Detection(p_given, prune_by_noise_rate(p, data.labels), p)
