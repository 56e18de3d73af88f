"""The images of a suite's data sets: read, cut down by seed, with their true labels."""

from __future__ import annotations

import contextlib
import hashlib
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..core.exceptions import InputError, MissingExtraError
from ..core.random import numpy_generator
from ..core.validation import IntArray
from ..data import LabeledImages, few_shot, load_images
from .demo import write_digits
from .suite import DataSpec, Suite

ROOT = "${root}"
ROOT_VARIABLE = "LABELSIEVE_DATA_ROOT"
DIGITS = "demo:digits"


@dataclass(frozen=True)
class Places:
    """Where things are on this machine.

    Attributes
    ----------
    results : Path
        Folder of the results.
    root : str or None
        What "${root}" stands for.
    offline : bool
        Never reach for the network.
    """

    results: Path
    root: str | None = None
    offline: bool = False

    def path(self, text: str) -> str:
        """A path of the suite on this machine.

        Raises
        ------
        InputError
            If it starts at the data root and there is none.
        """
        if ROOT not in text:
            return text
        root = self.root or os.environ.get(ROOT_VARIABLE)
        if not root:
            raise InputError(
                f"{text} needs the data root: give --data-root DIR or set {ROOT_VARIABLE}"
            )
        return text.replace(ROOT, str(Path(root).expanduser()))


def contents_of(suite: Suite, places: Places) -> dict[str, str]:
    """A hash of every file that data and noise of a suite name beside the images.

    One that cannot be read is left out: the cells that need it say why.
    """
    found = {}
    for spec in (*suite.data.values(), *suite.noise.values()):
        for path in spec.files():
            with contextlib.suppress(InputError, OSError), open(places.path(path), "rb") as file:
                state = hashlib.blake2b(digest_size=16)
                while chunk := file.read(2**20):
                    state.update(chunk)
                found[path] = state.hexdigest()
    return found


def all_training_images(data: DataSpec, places: Places) -> LabeledImages:
    """Every training image with its true label, of the first classes only where asked for.

    Raises
    ------
    InputError
        If the data cannot be read.
    """
    options = {"label_column": data.label_column, "split": data.split, "config": data.config}
    options |= {"image_column": data.image_column, "class_names": data.class_names}
    return _first_classes(_load(data.train, options, places), data.classes)


def column_of(data: DataSpec, column: str, places: Places) -> LabeledImages:
    """The training images with the labels of another column."""
    options = {"label_column": column, "split": data.split, "config": data.config}
    options |= {"image_column": data.image_column, "class_names": data.class_names}
    return _load(data.train, options, places)


def test_images(data: DataSpec, places: Places) -> LabeledImages | None:
    """The test images with their true labels; the same for all seeds.

    Raises
    ------
    InputError
        If the data cannot be read.
    """
    if data.test is None:
        return None
    options = {key: value for key, value in data.test.items() if key != "source"}
    options = {"image_column": data.image_column, "class_names": data.class_names} | options
    images = _first_classes(_load(data.test["source"], options, places), data.classes)
    if data.test_images is None:
        return images
    drawn = np.random.default_rng(0).permutation(len(images))[: data.test_images]
    return images.subset(np.sort(drawn))


def chosen_rows(data: DataSpec, truth: IntArray, seed: int) -> IntArray:
    """The rows that a seed takes: random images, then images a class (by their true labels)."""
    generator = numpy_generator(seed)
    rows = np.arange(len(truth))
    if data.images is not None:
        rows = np.sort(generator.permutation(len(truth))[: data.images])
    if data.shots is not None:
        rows = rows[few_shot(truth[rows], data.shots, generator)]
    return rows


def _load(source: str, options: dict[str, Any], places: Places) -> LabeledImages:
    """Images from a path, a hub id or the demo's digits."""
    options = {key: value for key, value in options.items() if value is not None}
    config = options.pop("config", None)
    if "class_names" in options:
        options["class_names"] = places.path(options["class_names"])
    if source == DIGITS:
        return load_images(_digits(places) / f"{options.pop('split', 'train')}.parquet", **options)
    if config is not None:
        return load_images(_configured(source, config, places.offline), **options)
    return load_images(places.path(source), offline=places.offline, **options)


def _digits(places: Places) -> Path:
    """The demo's digits, written at their first use; always the same split."""
    folder = places.results / "sources" / "digits"
    if not (folder / "test.parquet").is_file():
        write_digits(folder, 0)
    return folder


def _configured(source: str, config: str, offline: bool) -> Any:
    """A hub data set that has several configurations."""
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError(
            f"{source} needs the `datasets` library: pip install 'labelsieve[datasets]'"
        ) from error
    try:
        mode = datasets.DownloadConfig(local_files_only=offline)
        return datasets.load_dataset(source, config, download_config=mode)
    except Exception as error:  # network, authorisation, format: many kinds
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{source} ({config}) cannot be loaded from the hub: {reason}") from error


def _first_classes(images: LabeledImages, n_classes: int | None) -> LabeledImages:
    if n_classes is None or n_classes >= len(images.class_names):
        return images
    return replace(
        images.subset(images.given_labels < n_classes),
        class_names=images.class_names[:n_classes],
        prompt_names=images.prompt_names[:n_classes],
    )
