"""One way in for images and for precomputed features: rows that can be fitted."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..backbones import AbstractBackbone, FeatureCache, ImageFeatures, extract_features
from ..core.arrays import take
from ..core.exceptions import InputError
from ..core.validation import (
    BoolArray,
    FloatArray,
    IntArray,
    check_class_names,
    check_features,
    check_labels,
)
from ..data import LabeledImages
from ..visual_tuning import AbstractVisualTuning

log = logging.getLogger(__name__)
BESIDE_A_NAME = 16 + 3  # tokens of a learned context as published, full stop, start and end


@dataclass(frozen=True)
class FitData:
    """The usable rows of a data set: readable images that carry a label.

    Attributes
    ----------
    features : ndarray of float32, shape (N, D)
        L2-normalised image features.
    labels : ndarray of int64, shape (N,)
        Given labels.
    rows : ndarray of int64, shape (N,)
        Position of each usable row in the input.
    n_rows : int
        Number of input rows, usable or not.
    class_names, prompt_names : tuple of str
        Labels, and the words for them in prompts.
    errors : dict of int to str
        Why an input row cannot be read.
    images : LabeledImages or None
        The images of the usable rows, for methods that look at pixels; None with bare features.
    """

    features: FloatArray
    labels: IntArray
    rows: IntArray
    n_rows: int
    class_names: tuple[str, ...]
    prompt_names: tuple[str, ...]
    errors: dict[int, str] = field(default_factory=dict)
    images: LabeledImages | None = None

    @property
    def n_classes(self) -> int:
        """Number of classes, K."""
        return len(self.class_names)

    def subset(self, keep: IntArray) -> FitData:
        """The rows at the given positions."""
        return FitData(
            take(self.features, keep),
            self.labels[keep],
            self.rows[keep],
            self.n_rows,
            self.class_names,
            self.prompt_names,
            self.errors,
            None if self.images is None else self.images.subset(keep),
        )

    def digest(self) -> str:
        """A short hash of all but the pixels, by which a checkpoint knows its data."""
        state = hashlib.blake2b(
            json.dumps([self.class_names, self.prompt_names]).encode(), digest_size=16
        )
        for array in (self.features, self.labels):
            state.update(np.ascontiguousarray(array).tobytes())
        return state.hexdigest()


def words_that_fit(backbone: AbstractBackbone, words: Sequence[str]) -> tuple[str, ...]:
    """Class names cut to the words that leave room for a prompt around them.

    Half of the context belongs to the name, less where 16 context tokens, a full stop and the two
    ends would not fit beside it. A cut is logged, since two names that differ only beyond it look
    alike to the model; and so is a name of which the tokenizer knows nothing.

    Parameters
    ----------
    backbone : AbstractBackbone
        Its context length decides.
    words : sequence of str
        Class names as they stand in prompts.
    """
    length, fitting = backbone.context_length, []
    room = max(1, min(length // 2, length - BESIDE_A_NAME))
    for name in words:
        kept = name
        if not backbone.token_ids(name):
            log.warning(
                "%s cannot read the class name %.60r, so prompts do not say it: give other words "
                "with --class-names",
                backbone.model_id,
                name,
            )
        # A name that is cut leaves room for what tells it from its twins below.
        while len(backbone.token_ids(kept)) > (room if kept == name else room * 3 // 4):
            shorter = kept.rpartition(" ")[0].rstrip() or kept[: len(kept) * 3 // 4]
            kept = shorter
        if kept != name:
            log.warning(
                "the class name %.60r… is too long for prompts of %s (%d tokens); prompts use "
                "%.60r: give shorter words with --class-names",
                name,
                backbone.model_id,
                backbone.context_length,
                kept,
            )
        while kept in fitting:  # words must differ; the model will still see them as near twins
            kept += " too"
        fitting.append(kept)
    return tuple(fitting)


def image_features(
    X: Any, backbone: AbstractBackbone, tuning: AbstractVisualTuning | None = None
) -> ImageFeatures:
    """Features of images (through the disk cache) or of an array (N, D) of features.

    Parameters
    ----------
    X : LabeledImages, ImageFeatures or array of shape (N, D)
        Images or features.
    backbone : AbstractBackbone
        The image encoder.
    tuning : AbstractVisualTuning, optional
        Adapts the encoder; its features are not cached, and `X` must be images.

    Raises
    ------
    InputError
        If an array is not finite or does not fit the backbone's width, or if features are given
        where the encoder was adapted.
    """
    if tuning is not None:
        if not isinstance(X, LabeledImages):
            raise InputError(
                "this classifier has adapted the image encoder, so features of the original "
                "encoder do not fit it; pass images"
            )
        with tuning.attached(backbone):
            return extract_features(X, backbone)
    if isinstance(X, LabeledImages):
        found = extract_features(X, backbone, cache=FeatureCache())
        if found.errors:
            log.warning("%s", _unreadable(found, X))
        return found
    features = X.features if isinstance(X, ImageFeatures) else check_features(X)
    if features.shape[1] != backbone.embed_dim:
        raise InputError(
            f"features have {features.shape[1]} columns, but {backbone.model_id} gives "
            f"{backbone.embed_dim}; extract them with the model that you pass"
        )
    if isinstance(X, ImageFeatures):
        return X
    norm = np.linalg.norm(features, axis=1, keepdims=True)
    return ImageFeatures(features / np.maximum(norm, 1e-12), {})


def labelled(X: Any, y: Any, class_names: Sequence[str] | None) -> Any:
    """What gives labels and names: `y`, or `X`; images with an array `y` are given its labels."""
    if isinstance(X, LabeledImages) and not (y is None or isinstance(y, LabeledImages)):
        return X.with_labels(y, class_names)
    return X if y is None and isinstance(X, LabeledImages) else y


def names_and_words(
    images: LabeledImages, class_names: Sequence[str] | None
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Class names and words of images, or those that an estimator was given in their place.

    Raises
    ------
    InputError
        If these are the names of the images in another order: labels are indices into theirs.
    """
    if class_names is None:
        return images.class_names, images.prompt_names
    names = check_class_names(class_names)
    if names != images.class_names and sorted(names) == sorted(images.class_names):
        raise InputError(
            f"class_names are those of the images in another order, {list(names)[:10]} instead of "
            f"{list(images.class_names)[:10]}; leave class_names out"
        )
    return names, names


def fit_data(
    X: Any,
    y: Any,
    backbone: AbstractBackbone,
    class_names: Sequence[str] | None,
    *,
    needs_labels: bool = True,
) -> FitData:
    """Bring images, or features with labels, into the form that methods fit.

    Parameters
    ----------
    X : LabeledImages, ImageFeatures or array of shape (N, D)
        The images, or their features.
    y : array of int, shape (N,), or LabeledImages, optional
        Given labels; by default those of `X` when that is `LabeledImages`.
    backbone : AbstractBackbone
        Encodes the images.
    class_names : sequence of str, optional
        Needed with plain label arrays.
    needs_labels : bool
        Whether rows without a label are left out. Otherwise every readable row is used, and no
        label is looked at: all are -1.

    Raises
    ------
    InputError
        If labels, names or features do not fit, or no usable row is left.
    """
    found = image_features(X, backbone)
    named = labelled(X, y, class_names)
    if isinstance(named, LabeledImages):
        labels, (names, words) = named.given_labels, names_and_words(named, class_names)
    elif class_names is None or (y is None and needs_labels):
        raise InputError(
            "features come without labels or class names: pass y (class indices) to fit and "
            "class_names to the constructor"
        )
    else:
        names = words = check_class_names(class_names)
        labels = y
    n_rows = len(found.features)
    labels = np.asarray(labels) if needs_labels else np.full(n_rows, -1)
    usable = _usable_rows(found.ok, labels, len(names), needs_labels)
    if not len(usable):
        what = "no readable image has a label" if needs_labels else "no image can be read"
        why = f"; {_unreadable(found, named)}" if found.errors else ""
        raise InputError(f"none of the {n_rows} rows can be used: {what}{why}")
    features = np.asarray(found.features)
    return FitData(
        features if len(usable) == n_rows else take(features, usable),
        labels[usable].astype(np.int64),
        usable,
        n_rows,
        tuple(names),
        words_that_fit(backbone, words),
        dict(found.errors),
        named.subset(usable) if isinstance(named, LabeledImages) else None,
    )


def _usable_rows(
    readable: BoolArray, labels: IntArray, n_classes: int, needs_labels: bool
) -> IntArray:
    """Readable rows, and where labels are needed those that carry a valid one."""
    n_rows = len(readable)
    if needs_labels:
        if labels.shape != (n_rows,) or labels.dtype.kind not in "iu":
            check_labels(labels, n_rows, n_classes)  # raises, with shapes and types
        readable = readable & (labels >= 0)
        check_labels(labels[readable], int(readable.sum()), n_classes)
    return np.flatnonzero(readable)


def _unreadable(found: ImageFeatures, X: Any) -> str:
    """How many images cannot be read, with the first of them and why."""
    row, error = next(iter(found.errors.items()))
    name = repr(X.file_names[row]) if isinstance(X, LabeledImages) else f"row {row}"
    n, n_rows = len(found.errors), len(found.features)
    return f"{n:,} of {n_rows:,} images cannot be read, such as {name}: {error}"
