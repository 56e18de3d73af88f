"""The part of a data set whose labels are believed, by the verdicts of a scan."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..core.exceptions import InputError
from ..core.validation import IntArray
from ..data import LabeledImages
from ..detectors import LabelIssues

log = logging.getLogger(__name__)
NEARLY_ALL = 0.9


@dataclass(frozen=True)
class Believed:
    """Images to train on.

    Attributes
    ----------
    images : LabeledImages
        With the labels to use; all classes are kept, also those without images.
    n_images : int
        Before the selection.
    n_relabeled : int
        Images whose suggested label is used.
    """

    images: LabeledImages
    n_images: int
    n_relabeled: int = 0


def believed_images(
    images: LabeledImages, issues: LabelIssues | None, *, relabel: bool = False
) -> Believed:
    """Leave out the images whose label is doubted, missing, or that cannot be read.

    Parameters
    ----------
    images : LabeledImages
        The data that were scanned, in any order.
    issues : LabelIssues or None
        What the scan found; None believes every given label.
    relabel : bool
        Take the suggested label where the action is "relabel", rather than leave the image out.

    Raises
    ------
    InputError
        If the table is of other data or of other labels, or nothing is left.
    """
    labels = images.given_labels.copy()
    n_relabeled = 0
    if issues is not None:
        table = _matched(images, issues)
        labels[table["is_label_issue"] | (table["action"] != "keep")] = -1
        if relabel:
            rows = np.flatnonzero(table["action"] == "relabel")
            suggested = _indices(images, table["suggested_label"].iloc[rows])
            labels[rows] = suggested
            n_relabeled = int((suggested >= 0).sum())
    kept = np.flatnonzero(labels >= 0)
    if len(kept) == 0:
        raise InputError(
            f"no label of the {len(images)} images is believed, so there is nothing to train on; "
            "scan with another model or detector, or train on all given labels (--baseline ce "
            "without --issues)"
        )
    _warn_of_lost_classes(images, labels)
    chosen = images.with_labels(labels).subset(kept)
    return Believed(chosen, len(images), n_relabeled)


def _matched(images: LabeledImages, issues: LabelIssues) -> Any:
    """The rows of the table, in the order of the images, with an index 0..N-1."""
    table = issues.table.set_index(issues.table["id"].astype(object))
    if not table.index.is_unique:
        raise InputError("the issues name an id more than once; pass the table of one scan")
    absent = [name for name in images.ids if name not in table.index]
    if absent:
        raise InputError(
            f"the issues lack {len(absent)} of the {len(images)} images, such as {absent[0]!r} "
            f"(they have {len(table)} rows, such as {next(iter(table.index), None)!r}); pass the "
            "issues of a scan of these data, or scan them again"
        )
    if len(table) > len(images):
        log.warning("%d issues are of images that are not there", len(table) - len(images))
    table = table.loc[list(images.ids)].reset_index(drop=True)
    changed = np.flatnonzero(_indices(images, table["given_label"]) != images.given_labels)
    if len(changed):
        row = int(changed[0])
        raise InputError(
            f"{len(changed)} images have another label than when they were scanned, such as "
            f"{images.ids[row]!r} ({table['given_label'].iloc[row]!s}); the issues judge the old "
            "labels: scan the data again"
        )
    return table


def _indices(images: LabeledImages, names: Any) -> IntArray:
    """Class indices of label names; -1 for no name and for one that is no class."""
    position = {name: k for k, name in enumerate(images.class_names)}
    return names.map(position).fillna(-1).to_numpy(dtype=np.int64)


def _warn_of_lost_classes(images: LabeledImages, labels: IntArray) -> None:
    """Say which classes have too few images left to learn from; they stay in the classifier."""
    n_classes = len(images.class_names)
    given = np.bincount(images.given_labels[images.labeled], minlength=n_classes)
    left = np.bincount(labels[labels >= 0], minlength=n_classes)
    poor = np.flatnonzero((left < 2) | (left <= (1 - NEARLY_ALL) * given))
    if len(poor):
        shown = ", ".join(f"{images.class_names[k]} ({left[k]} of {given[k]})" for k in poor[:10])
        more = f" and {len(poor) - 10} more" if len(poor) > 10 else ""
        log.warning(
            "hardly any images are left of %s%s; the classifier cannot learn these classes: "
            "review their labels",
            shown,
            more,
        )
