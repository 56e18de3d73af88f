"""Nearest-neighbour votes: a label is suspect where its neighbourhood disagrees."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..backbones import AbstractBackbone
from ..core.exceptions import InputError
from ..core.validation import check_number
from ..selection.neighbours import neighbour_votes
from ..tuners.inputs import FitData
from .base import AbstractDetector, Detection


class NeighbourVotes(AbstractDetector):
    """Let the given labels of the k nearest neighbours in feature space vote.

    The label score is the share of votes for the given label; a label is an issue where another
    class has more. The idea of SimiFeat (Zhu et al., ICML 2022); nothing is trained.

    Parameters
    ----------
    backbone : str or AbstractBackbone
        Hub id, directory, or a loaded model.
    class_names : sequence of str, optional
        Needed when fitted to features.
    k : int
        Neighbours a row.

    Examples
    --------
    >>> detector = NeighbourVotes("mini-glyph", k=20)
    """

    def __init__(
        self,
        backbone: str | AbstractBackbone = "openai/clip-vit-base-patch16",
        *,
        class_names: Sequence[str] | None = None,
        k: int = 10,
    ):
        self.backbone = backbone
        self.class_names = class_names
        self.k = k

    def check(self) -> None:
        """Raise `InputError` for arguments that no data can make usable; `fit` calls it first."""
        super().check()
        check_number(self.k, name="k", low=1, integer=True)

    def _detect(
        self, data: FitData, backbone: AbstractBackbone, checkpoint: Path | None
    ) -> Detection:
        if len(data.labels) < 2:
            raise InputError("neighbour votes need at least two labeled, readable images, not one")
        votes = neighbour_votes(data.features, data.labels, data.n_classes, k=self.k)
        p_given = votes[np.arange(len(votes)), data.labels]
        return Detection(p_given, votes.max(axis=1) > p_given, votes)
