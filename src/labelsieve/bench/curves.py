"""Precision-recall and review curves of cells, averaged over seeds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import precision_recall_curve

from ..core.validation import BoolArray, FloatArray
from .metrics import errors_found

GRID = np.arange(201) / 200  # quotients, as recalls are: linspace has steps just above 0.7
"""Recall, respectively share of images looked at."""


def scores_of(results: Path, cell: pd.Series) -> tuple[FloatArray, BoolArray]:
    """Label scores of the judged rows of a detector's cell, and which are wrong."""
    issues = pd.read_parquet(
        results / "cells" / str(cell["cell"]) / "issues.parquet", columns=["label_score"]
    )
    labels = pd.read_parquet(results / "noise" / f"{cell['noise_key']}.parquet")
    score = issues["label_score"].to_numpy(dtype=float)
    wrong = (labels["given"] != labels["truth"]).to_numpy()
    judged = ~np.isnan(score)
    return score[judged], wrong[judged]


def precision_on_grid(score: FloatArray, wrong: BoolArray) -> FloatArray:
    """Precision at each recall of `GRID`: the best that reaches at least this recall, (201,)."""
    precision, recall = (a[:-1] for a in precision_recall_curve(wrong, -score)[:2])
    best = np.maximum.accumulate(precision)  # recall falls along the curve, to its first row
    return best[len(recall) - 1 - np.searchsorted(recall[::-1], GRID, side="left")]


def found_on_grid(score: FloatArray, wrong: BoolArray) -> FloatArray:
    """Share of all wrong labels found after looking at each share of `GRID`, (201,)."""
    found = errors_found(score, wrong)
    return np.interp(GRID, np.linspace(0.0, 1.0, len(found)), found) / max(int(wrong.sum()), 1)
