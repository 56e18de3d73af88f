"""Image features, streamed: decoding in threads while the encoder works."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from ..core.arrays import zeros
from ..core.exceptions import UnreadableImageError
from ..core.progress import progress
from ..core.validation import BoolArray, check_number
from ..data.decode import decode
from .base import AbstractBackbone
from .cache import FeatureCache, FeatureStore, image_key
from .stream import at_pace, threads_beside


@dataclass
class ImageFeatures:
    """Features of a data set, in its order.

    Attributes
    ----------
    features : ndarray
        Shape (N, D), float32, rows of length 1; zeros where the image was unreadable.
    errors : dict of int to str
        Row -> why its image could not be read.
    """

    features: npt.NDArray[np.float32]
    errors: dict[int, str] = field(default_factory=dict)

    @property
    def ok(self) -> BoolArray:
        """Shape (N,): whether the row has features."""
        ok = np.ones(len(self.features), dtype=bool)
        ok[list(self.errors)] = False
        return ok


@dataclass
class _Prepared:
    row: int
    key: bytes = b""
    pixels: Tensor | None = None
    error: str | None = None


def extract_features(
    images: Any,
    backbone: AbstractBackbone,
    *,
    batch_size: int = 64,
    cache: FeatureCache | None = None,
    workers: int | None = None,
    show: bool = True,
) -> ImageFeatures:
    """Encode every image once.

    Memory does not grow with the number of images but for the features themselves, and these are
    memory-mapped when they are large (see `core.arrays`). A JPEG much larger than the encoder's
    input is decoded at a fraction of its size, which changes features by a cosine of 0.001 at most.

    Parameters
    ----------
    images : LabeledImages
        N images; labels are not looked at.
    backbone : AbstractBackbone
        The image encoder.
    batch_size : int
        Images encoded together. It is not chosen by time, since the last bits of features may
        depend on it.
    cache : FeatureCache, optional
        Where features are looked up and kept; None keeps nothing.
    workers : int, optional
        Threads that read, decode and preprocess; 0 does it in the calling thread. By default as
        many as keep up with the encoder, by the times of the first images; all cores beside a GPU,
        whose first batch is slow in ways that say nothing about the others.
    show : bool
        Whether to show a progress bar (on a terminal).

    Returns
    -------
    ImageFeatures
        Broken images are reported in `errors` and never end the run. Files with the same bytes
        are encoded once.

    Raises
    ------
    InputError
        If `batch_size` or `workers` are out of range.
    """
    check_number(batch_size, name="batch_size", low=1, integer=True)
    if workers is not None:
        check_number(workers, name="workers", low=0, integer=True)
    store = cache.store(backbone) if cache is not None else None
    run = _Extraction(images, backbone, store, batch_size, workers)
    run.encode(range(len(images)), show=show)
    run.read_cached()
    return ImageFeatures(run.features, dict(sorted(run.errors.items())))


class _Extraction:
    """The state of one call of `extract_features`."""

    def __init__(
        self,
        images: Any,
        backbone: AbstractBackbone,
        store: FeatureStore | None,
        batch_size: int,
        workers: int | None,
    ):
        self.images, self.backbone, self.store = images, backbone, store
        if workers is None and backbone.device.type != "cpu":
            workers = threads_beside(backbone.device)
        self.batch_size, self.workers = batch_size, workers
        self.features = zeros((len(images), backbone.embed_dim))
        self.halves = backbone.preprocessing.in_halves
        self.least_side = backbone.preprocessing.least_side
        self.errors: dict[int, str] = {}
        self.stored = store.rows if store is not None else {}
        self.cached: dict[int, bytes] = {}
        self.first_row: dict[bytes, int] = {}

    def encode(self, rows: Iterable[int], *, show: bool) -> None:
        """Encode the rows that are not in the cache and note those that are."""
        rows, batch = list(rows), []
        repeats: list[_Prepared] = []
        tasks = at_pace(self.prepare, rows, self.workers, batch=self.batch_size)
        bar = progress(tasks, total=len(rows), desc="image features", unit="img") if show else tasks
        try:
            with closing(tasks):
                for item in bar:
                    self.sort_in(item, batch, repeats)
                    if len(batch) == self.batch_size:
                        self.encode_batch(batch)
                        batch.clear()
                if batch:
                    self.encode_batch(batch)
        finally:  # an interrupted run keeps what it has
            if self.store is not None:
                self.store.flush()
        for item in repeats:
            self.copy_row(item.row, self.first_row[item.key])

    def sort_in(self, item: _Prepared, batch: list[_Prepared], repeats: list[_Prepared]) -> None:
        """Decide whether a prepared image is broken, cached, seen before or to be encoded."""
        if item.error is not None:
            self.errors[item.row] = item.error
        elif item.key in self.stored:
            self.cached[item.row] = item.key
        elif item.key in self.first_row:
            repeats.append(item)
        else:
            self.first_row[item.key] = item.row
            batch.append(item)

    def prepare(self, row: int) -> _Prepared:
        """Read one image and, if its features are not known, decode and preprocess it."""
        try:
            content = self.images.read_bytes(row)
            key = image_key(content)
            if key in self.stored or key in self.first_row:
                return _Prepared(row, key)
            image = decode(content, least_side=self.least_side)
            if self.halves:
                return _Prepared(row, key, self.backbone.preprocessing.resize([image])[0])
            return _Prepared(row, key, self.backbone.preprocess([image])[0])
        except Exception as error:  # a broken file can fail in any decoder in any way
            return _Prepared(row, error=describe(error))

    def encode_batch(self, batch: list[_Prepared]) -> None:
        """Encode prepared images; a non-finite result is an error of its row."""
        pixels = torch.stack([item.pixels for item in batch if item.pixels is not None])
        with torch.inference_mode():
            if self.halves:
                pixels = self.backbone.preprocessing.normalize(pixels.to(self.backbone.device))
            encoded = self.backbone.encode_images(pixels).cpu().numpy()
        good = [i for i in range(len(batch)) if np.isfinite(encoded[i]).all()]
        for i in sorted(set(range(len(batch))) - set(good)):
            self.errors[batch[i].row] = f"features are not finite in {self.backbone.dtype}"
        self.features[[batch[i].row for i in good]] = encoded[good]
        if self.store is not None and good:
            self.store.add([batch[i].key for i in good], encoded[good])

    def copy_row(self, row: int, source: int) -> None:
        """Give a file with the same bytes the same result."""
        self.features[row] = self.features[source]
        if source in self.errors:
            self.errors[row] = self.errors[source]

    def read_cached(self) -> None:
        """Fill in the cached rows; rows of a shard that broke meanwhile are encoded."""
        if self.store is None or not self.cached:
            return
        lost = self.store.read(self.cached, self.features)
        if lost:
            self.stored = {}
            self.encode(lost, show=False)


def describe(error: Exception) -> str:
    """One line on why an image could not be read."""
    text = str(error).strip() or type(error).__name__
    known = isinstance(error, UnreadableImageError | OSError)
    return text if known else f"{type(error).__name__}: {text}"
