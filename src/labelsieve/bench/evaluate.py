"""Measure a fitted classifier on a data set whose labels are trusted."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from ..core.exceptions import InputError
from ..core.text import counted
from ..core.validation import IntArray
from ..data import LabeledImages
from ..tuners import AbstractTuner
from .metrics import classification_metrics

log = logging.getLogger(__name__)


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
        If the data has no label, or classes that the classifier does not know.
    """
    labels = check_evaluable(tuner.class_names_, images)
    labeled = np.flatnonzero(images.given_labels >= 0)
    probabilities = tuner.predict_proba(images.subset(labeled))
    unreadable = int(np.isnan(probabilities[:, 0]).sum())
    if unreadable:
        log.warning("counted as wrong: %s that cannot be read", counted(unreadable, "image"))
    return classification_metrics(probabilities, labels[labeled], tuner.class_names_)


def check_evaluable(class_names: tuple[str, ...], images: LabeledImages) -> IntArray:
    """`true_labels` of images of which at least one has a label.

    Raises
    ------
    InputError
        If none has, or the data has classes that the classifier does not know.
    """
    if not images.labeled.any():
        raise InputError(
            f"none of the {len(images)} images has a label to compare with; name the column that "
            "holds the true labels (--label-column), or use `labelsieve predict`"
        )
    return true_labels(class_names, images)


def true_labels(class_names: tuple[str, ...], images: LabeledImages) -> IntArray:
    """The labels of images as indices into the classes of a classifier, -1 where there is none.

    Parameters
    ----------
    class_names : tuple of str
        The classifier's.
    images : LabeledImages
        N images with their own class order.

    Raises
    ------
    InputError
        If the data has classes that the classifier does not know.
    """
    position = {name: k for k, name in enumerate(class_names)}
    used = sorted({int(k) for k in images.given_labels if k >= 0})
    unknown = [images.class_names[k] for k in used if images.class_names[k] not in position]
    if unknown:
        raise InputError(
            f"the classifier does not know {len(unknown)} classes of the data: {unknown[:5]}; "
            f"it knows {list(class_names)[:10]}"
        )
    known = np.array([position.get(name, -1) for name in images.class_names] + [-1])
    return known[images.given_labels]
