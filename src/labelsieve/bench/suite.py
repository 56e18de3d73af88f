"""What a suite is: data sets x noise x models x methods x seeds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

AXES = ("data", "noise", "models", "methods")


@dataclass(frozen=True)
class DataSpec:
    """A data set with true labels.

    Attributes
    ----------
    train : str
        Path, hub id, or "demo:digits"; "${root}" stands for the data root.
    test : dict
        ``source`` and the same reading options, for the test images.
    config, split, image_column, label_column, class_names
        How the training images are read; the labels are the truth.
    templates : str or None
        Name of the templates of methods that take some and are not told otherwise.
    images, classes, shots : int or None
        Random images of each seed; first classes; images a class of each seed.
    test_images : int or None
        Random test images, the same for all seeds.
    expect, prepare, unchecked
        Shape (``classes``, ``train``, ``test``), how to get the data, and whether nobody looked.
    """

    name: str
    train: str
    test: dict[str, Any] | None = None
    config: str | None = None
    split: str | None = None
    image_column: str | None = None
    label_column: str | None = None
    class_names: str | None = None
    templates: str | None = None
    images: int | None = None
    classes: int | None = None
    shots: int | None = None
    test_images: int | None = None
    expect: dict[str, int] = field(default_factory=dict)
    prepare: str | None = None
    unchecked: bool = False

    def settings(self) -> dict[str, Any]:
        """What decides the figures."""
        left_out = ("name", "expect", "prepare", "unchecked")
        return {k: v for k, v in asdict(self).items() if k not in left_out and v is not None}

    def files(self) -> list[str]:
        """The files that it names beside the images."""
        return [p for p in (self.class_names, (self.test or {}).get("class_names")) if p]


@dataclass(frozen=True)
class NoiseSpec:
    """How the given labels come to be wrong.

    Attributes
    ----------
    kind : str or None
        "none", "few-shot" (see `few_shot_noisy`), or a kind of `inject_noise`.
    rate, matrix, normalize
        Arguments of `inject_noise`; `matrix` is a CSV file.
    wrong : int or None
        For "few-shot": how many of the `shots` images of a class belong to another one.
    confusions : str or None
        For "few-shot": a model of the suite whose zero-shot confusions choose these images.
    column, file, truth_column
        A column of human labels, of the training data or of another table with the same rows,
        whose `truth_column` must agree with the truth.
    only : dict
        Axis -> names for which it is run.
    """

    name: str
    kind: str | None = None
    rate: float | None = None
    matrix: str | None = None
    normalize: bool = False
    wrong: int | None = None
    confusions: str | None = None
    column: str | None = None
    file: str | None = None
    truth_column: str | None = None
    only: dict[str, list[str]] = field(default_factory=dict)

    def settings(self) -> dict[str, Any]:
        """What decides the labels."""
        left_out = ("name", "only")
        return {k: v for k, v in asdict(self).items() if k not in left_out and v is not None}

    def files(self) -> list[str]:
        """The files that it names."""
        return [path for path in (self.matrix, self.file) if path]


@dataclass(frozen=True)
class ModelSpec:
    """A vision-language model: a hub id, a directory or "mini-glyph"."""

    name: str
    id: str
    only: dict[str, list[str]] = field(default_factory=dict)


@dataclass(frozen=True)
class MethodSpec:
    """A method with its parameters.

    Attributes
    ----------
    kind : {"detector", "tuner", "adapt", "peer"}
    method : str
        Name in the registry of that kind; for "adapt" the baseline.
    params : dict
        Constructor arguments; the text "$noise_rate" stands for the true noise rate of the cell.
    after : str or None
        The method whose verdicts choose what a classifier is fitted on.
    relabel : bool
        For "adapt": use suggested labels.
    backbone : str or None
        For "adapt": another image model to fine-tune.
    """

    name: str
    kind: str
    method: str
    params: dict[str, Any] = field(default_factory=dict)
    after: str | None = None
    relabel: bool = False
    backbone: str | None = None
    only: dict[str, list[str]] = field(default_factory=dict)

    @property
    def detects(self) -> bool:
        """Whether it judges labels; otherwise it is a classifier."""
        return self.kind in ("detector", "peer")


@dataclass(frozen=True)
class Suite:
    """A validated suite; see `load_suite`.

    Attributes
    ----------
    contents : mapping of str to str
        A hash of each file that data and noise name, where it was read; see `contents_of`.
    dtype : str
        Precision of the image encoders in the cells.
    """

    name: str
    seeds: tuple[int, ...]
    data: Mapping[str, DataSpec]
    noise: Mapping[str, NoiseSpec]
    models: Mapping[str, ModelSpec]
    methods: Mapping[str, MethodSpec]
    about: str = ""
    document: Mapping[str, Any] = field(default_factory=dict)
    contents: Mapping[str, str] = field(default_factory=dict)
    dtype: str = "float32"
