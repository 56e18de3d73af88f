"""Other packages as detectors, so that they are measured in the same table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..backbones import AbstractBackbone
from ..core.exceptions import MissingExtraError
from ..detectors import AbstractDetector
from ..detectors.base import Detection
from ..tuners.inputs import FitData


class Cleanlab(AbstractDetector):
    """cleanlab on the same features (Northcutt, Jiang, Chuang, JAIR 2021).

    Out-of-sample probabilities of scikit-learn's logistic regression, as cleanlab's documentation
    recommends, go to its filter and to its label quality score.

    Parameters
    ----------
    backbone : str or AbstractBackbone
        Gives the features.
    class_names : sequence of str, optional
        Needed with plain label arrays.
    filter_by : str
        Of `cleanlab.filter.find_label_issues`.
    score : str
        Of `cleanlab.rank.get_label_quality_scores`.
    n_folds : int
        Folds of the cross-validation.
    random_state : int
        Decides the folds.
    """

    def __init__(
        self,
        backbone: str | AbstractBackbone = "openai/clip-vit-base-patch16",
        *,
        class_names: Sequence[str] | None = None,
        filter_by: str = "prune_by_noise_rate",
        score: str = "self_confidence",
        n_folds: int = 5,
        random_state: int = 0,
    ):
        self.backbone = backbone
        self.class_names = class_names
        self.filter_by = filter_by
        self.score = score
        self.n_folds = n_folds
        self.random_state = random_state

    def _detect(
        self, data: FitData, backbone: AbstractBackbone, checkpoint: Path | None
    ) -> Detection:
        try:
            from cleanlab.filter import find_label_issues
            from cleanlab.rank import get_label_quality_scores
        except ImportError as error:
            raise MissingExtraError(
                "the peer cleanlab is not installed: pip install 'cleanlab>=2.8'"
            ) from error
        probabilities = self._out_of_sample(data)
        issues = find_label_issues(data.labels, probabilities, filter_by=self.filter_by, n_jobs=1)
        scores = get_label_quality_scores(data.labels, probabilities, method=self.score)
        return Detection(np.asarray(scores), np.asarray(issues, dtype=bool), probabilities)

    def _out_of_sample(self, data: FitData) -> np.ndarray:
        """Probabilities of each row by a model that did not see it, (N, K)."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import StratifiedKFold, cross_val_predict

        folds = StratifiedKFold(self.n_folds, shuffle=True, random_state=self.random_state)
        probe = LogisticRegression(max_iter=1000)
        found: Any = cross_val_predict(
            probe, data.features, data.labels, cv=folds, method="predict_proba"
        )
        probabilities = np.zeros((len(data.labels), data.n_classes))
        probabilities[:, np.unique(data.labels)] = found  # cleanlab takes columns in class order
        return probabilities
