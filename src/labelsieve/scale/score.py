"""From a block of features to a committed block of issues: one function for every engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from ..core.exceptions import LabelSieveError
from ..core.validation import FloatArray, IntArray
from ..detectors.base import Scorer
from ..detectors.issues import LabelIssues, best_other_class, build_issues
from ..prompts import TextClassifier
from .encode import features_of
from .ledger import Ledger
from .subset import class_of_rows


@dataclass(frozen=True)
class Fitted:
    """All that a worker needs to score.

    Attributes
    ----------
    scorer : Scorer
    zero_shot : TextClassifier
        Predicts rows without a label.
    class_names : tuple of str
    codes : dict of str to int
        Label cell to class index.
    detector : str
        Its name.
    features, issues : Path
        Folders of blocks.
    """

    scorer: Scorer
    zero_shot: TextClassifier
    class_names: tuple[str, ...]
    codes: dict[str, int]
    detector: str
    features: Path
    issues: Path


@dataclass(frozen=True)
class Judged:
    """Rows that were part of the fit, judged by it: (M,) and (M, K).

    Attributes
    ----------
    rows : ndarray of int64
        Positions in the block.
    label_score, p_clean, is_label_issue, fits_no_class, probabilities
        As of a detector.
    """

    rows: IntArray
    label_score: FloatArray
    p_clean: FloatArray
    is_label_issue: np.ndarray
    fits_no_class: np.ndarray
    probabilities: FloatArray


def score_block(task: tuple[dict[str, Any], Judged], fitted: Fitted) -> dict[str, Any]:
    """Score a block of features and commit the rows of the issues table.

    Parameters
    ----------
    task : tuple
        The record of the block of features, and its rows that the fit has judged out of fold.
    fitted : Fitted

    Returns
    -------
    dict
        The record of the block, or ``{"block": number, "failure": text}``.
    """
    record, judged = task
    ledger = Ledger(fitted.issues)
    found = ledger.record(record["block"])
    if found is not None and found.get("of") == record["hash"]:
        return found
    try:
        table = Ledger(fitted.features).read(record)
        issues, given, suggested = issues_of_block(table, judged, fitted)
        frame = pa.Table.from_pandas(issues.table, preserve_index=False)
        frame = frame.append_column("given", pa.array(given))
        frame = frame.append_column("suggested", pa.array(suggested))
        return ledger.commit(record["block"], frame, {"of": record["hash"]})
    except (LabelSieveError, OSError) as error:
        return {"block": record["block"], "failure": str(error)}


def issues_of_block(
    table: pa.Table, judged: Judged, fitted: Fitted
) -> tuple[LabelIssues, IntArray, IntArray]:
    """The issues of a block of features, with given and suggested labels as class indices."""
    errors = {r: t for r, t in enumerate(table["error"].to_pylist()) if t is not None}
    given = class_of_rows(table["label"].to_pylist(), fitted.codes)
    features = features_of(table)
    n, k = len(given), len(fitted.class_names)
    readable = np.ones(n, dtype=bool)
    readable[list(errors)] = False
    score, p_clean = np.full(n, np.nan), np.full(n, np.nan)
    issue, homeless = np.zeros(n, dtype=bool), np.zeros(n, dtype=bool)
    p = np.full((n, k), np.nan)
    rows = np.flatnonzero(readable & (given >= 0))
    if len(rows):
        found = fitted.scorer(features[rows], given[rows])
        score[rows], issue[rows], p[rows] = (
            found.label_score,
            found.is_label_issue,
            found.probabilities,
        )
        if found.p_clean is not None:
            p_clean[rows] = found.p_clean
        if found.fits_no_class is not None:
            homeless[rows] = found.fits_no_class & found.is_label_issue
    unlabeled = readable & (given < 0)
    if unlabeled.any():
        p[unlabeled] = fitted.zero_shot.predict_proba(features[unlabeled])
    at = judged.rows
    score[at], p_clean[at], issue[at] = judged.label_score, judged.p_clean, judged.is_label_issue
    homeless[at], p[at] = judged.fits_no_class, judged.probabilities
    issues = build_issues(
        ids=table["id"].to_pylist(),
        file_names=table["file_name"].to_pylist(),
        given_labels=given,
        class_names=fitted.class_names,
        label_score=score,
        is_label_issue=issue,
        probabilities=p,
        p_clean=p_clean,
        fits_no_class=homeless,
        detector=fitted.detector,
        errors=errors,
    )
    suggested = np.where(issue & ~homeless, best_other_class(p, given), -1)
    return issues, given, suggested
