"""The grounds of the prompt-tuning study: a model, images that are new to it, and their truth."""

from __future__ import annotations

import io
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from PIL import Image, ImageFilter, ImageOps

from labelsieve import load_backbone, load_images
from labelsieve.backbones import AbstractBackbone, FeatureCache, extract_features
from labelsieve.bench.demo import write_digits
from labelsieve.data import LabeledImages
from labelsieve.data.sources import ImageSource

HUMAN = ("label_aggre", "label_random1", "label_worse")
N_IMAGES = 4000
"""Training images that rows are drawn from, and test images, where there are as many."""


@dataclass(frozen=True)
class Ground:
    """Features of one data set under one model.

    Attributes
    ----------
    train, test : ndarray, shape (N, D)
    truth, test_truth : ndarray of int, shape (N,)
        For drawing shots, injecting noise and scoring.
    human : dict of str to ndarray
        Labels that people gave to the training rows.
    """

    backbone: AbstractBackbone
    class_names: tuple[str, ...]
    train: np.ndarray
    truth: np.ndarray
    test: np.ndarray
    test_truth: np.ndarray
    human: dict[str, np.ndarray]

    def first_classes(self, n: int) -> Ground:
        """The same with the first n classes only."""
        rows, tests = self.truth < n, self.test_truth < n
        return replace(
            self,
            class_names=self.class_names[:n],
            train=self.train[rows],
            truth=self.truth[rows],
            test=self.test[tests],
            test_truth=self.test_truth[tests],
            human={},
        )


class Shifted(ImageSource):
    """The images of another source after a change of their pixels."""

    def __init__(self, images: LabeledImages, change: Callable[[Image.Image], Image.Image]):
        self.images, self.change = images, change

    def read_bytes(self, index: int) -> bytes:
        """The changed image as PNG."""
        buffer = io.BytesIO()
        self.change(self.images.image(index)).save(buffer, format="PNG")
        return buffer.getvalue()

    def location(self, index: int) -> None:
        """There is no file."""
        return


def _recoloured(image: Image.Image) -> Image.Image:
    red, green, blue = image.split()
    return Image.merge("RGB", (green, blue, red))


SHIFTS = {
    "inverted": ImageOps.invert,
    "blurred": lambda image: image.filter(ImageFilter.GaussianBlur(1.2)),
    "recoloured": _recoloured,
}


def digits(shared: Path) -> Ground:
    """mini-glyph on scikit-learn's handwritten digits."""
    with TemporaryDirectory() as folder:
        paths = write_digits(Path(folder), 0)
        return _encoded(load_backbone("mini-glyph"), *map(load_images, paths), {})


def cifar10(shared: Path, model: str, shift: str | None = None) -> Ground:
    """A small CLIP on CIFAR-10 with the human labels of CIFAR-10N, the pixels changed or not."""
    table = shared / "data" / "cifar10n_train.parquet"
    rows = _some(load_images(table, label_column="label"))
    test = load_images(shared / "data" / "cifar10_test.parquet")
    images = [load_images(table, label_column="label").subset(rows), test.subset(_some(test))]
    if shift is not None:
        images = [replace(each, source=Shifted(each, SHIFTS[shift])) for each in images]
    human = {
        column.replace("label_", "human "): load_images(table, label_column=column)
        .subset(rows)
        .given_labels
        for column in HUMAN
    }
    return _encoded(load_backbone(_model(shared, model)), *images, human)


def _model(shared: Path, name: str) -> Path:
    """Where a model lies: one made by its recipe in build/, the others with the data."""
    made = Path("build") / name
    return made if made.exists() else shared / "models" / name


def tiny_imagenet(shared: Path, model: str) -> Ground:
    """A small CLIP on 200 classes: for what depends on their number."""
    train = load_images(shared / "data" / "tinyimagenet_train.parquet")
    test = load_images(shared / "data" / "tinyimagenet_test.parquet")
    images = (train.subset(_some(train)), test.subset(_some(test)[::4]))
    return _encoded(load_backbone(_model(shared, model)), *images, {})


GROUNDS: dict[str, Callable[[Path], Ground]] = {
    "glyph-digits": digits,
    "mini-photo-cifar10": lambda shared: cifar10(shared, "mini-photo"),
    "tin-cifar10": lambda shared: cifar10(shared, "mini-vlm-tin"),
    **{
        f"photo-{shift}": lambda shared, shift=shift: cifar10(shared, "mini-vlm-photo", shift)
        for shift in SHIFTS
    },
    "photo-cifar10": lambda shared: cifar10(shared, "mini-vlm-photo"),
    "photo-tiny-imagenet": lambda shared: tiny_imagenet(shared, "mini-vlm-photo"),
}


def _some(images: LabeledImages) -> np.ndarray:
    """Up to `N_IMAGES` random rows, always the same."""
    return np.sort(np.random.default_rng(0).permutation(len(images))[:N_IMAGES])


def _encoded(
    backbone: AbstractBackbone,
    train: LabeledImages,
    test: LabeledImages,
    human: dict[str, np.ndarray],
) -> Ground:
    features = [
        extract_features(images, backbone, cache=FeatureCache()).features
        for images in (train, test)
    ]
    names = tuple(train.prompt_names)
    if test.class_names != train.class_names:
        raise SystemExit("training and test images differ in their classes")
    return Ground(
        backbone, names, features[0], train.given_labels, features[1], test.given_labels, human
    )
