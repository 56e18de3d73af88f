"""Measure a fitted classifier on a data set whose labels are trusted."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..core.exceptions import InputError
from ..data import LabeledImages
from ..tuners import AbstractTuner
from .metrics import classification_metrics


def evaluate(tuner: AbstractTuner, images: LabeledImages) -> dict[str, Any]:
    """Metrics of a classifier; classes are matched by name, whatever their order.

    Parameters
    ----------
    tuner : AbstractTuner
        Fitted or loaded.
    images : LabeledImages
        Their labels are taken for the truth; rows without one are left out.

    Returns
    -------
    dict
        See `classification_metrics`.

    Raises
    ------
    InputError
        If the data has classes that the classifier does not know.
    """
    position = {name: k for k, name in enumerate(tuner.class_names_)}
    used = sorted({int(k) for k in images.given_labels if k >= 0})
    unknown = [images.class_names[k] for k in used if images.class_names[k] not in position]
    if unknown:
        raise InputError(
            f"the classifier does not know {len(unknown)} classes of the data: {unknown[:5]}; "
            f"it knows {list(tuner.class_names_)[:10]}"
        )
    labeled = np.flatnonzero(images.given_labels >= 0)
    images = images.subset(labeled)
    known = np.array([position.get(name, -1) for name in images.class_names])
    labels = known[images.given_labels]
    return classification_metrics(tuner.predict_proba(images), labels, tuner.class_names_)
