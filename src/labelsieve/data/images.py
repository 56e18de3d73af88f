"""`LabeledImages`: what every reader returns and every later step takes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from ..core.exceptions import gather
from ..core.validation import BoolArray, IntArray, check_class_names
from .decode import decode
from .labels import check_given_labels
from .sources import ImageSource


@dataclass(frozen=True, eq=False)
class LabeledImages:
    """N images with given labels; images are read and decoded only when asked for.

    Parameters
    ----------
    ids : sequence of str, length N
        One unique name a row.
    file_names : sequence of str, length N
        For people: the relative path where there is one.
    given_labels : ndarray of int64, shape (N,)
        Indices into `class_names`; -1 where the label is missing.
    class_names : tuple of str, length K
        The class order.
    source : ImageSource
        The encoded images, by row.
    rule : str
        One sentence: how the data were read.
    notes : tuple of str
        Warnings for the person.
    prompt_names : tuple of str, length K
        The words for prompts; by default the class names with "_" as a space.

    Raises
    ------
    InputError
        If the lengths of the arrays or the labels do not fit.

    Examples
    --------
    >>> from labelsieve.data.sources import FileSource
    >>> images = LabeledImages(
    ...     ids=np.array(["a.png", "b.png"], dtype=object),
    ...     file_names=np.array(["a.png", "b.png"], dtype=object),
    ...     given_labels=np.array([1, -1]),
    ...     class_names=("cat", "sea_lion"),
    ...     source=FileSource(".", ["a.png", "b.png"]),
    ...     rule="two files",
    ... )
    >>> len(images), images.prompt_names, images.class_counts()
    (2, ('cat', 'sea lion'), {'cat': 0, 'sea_lion': 1})
    """

    ids: np.ndarray[Any, Any]
    file_names: np.ndarray[Any, Any]
    given_labels: IntArray
    class_names: tuple[str, ...]
    source: ImageSource
    rule: str
    notes: tuple[str, ...] = ()
    prompt_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = tuple(self.class_names)
        words = tuple(self.prompt_names) or tuple(name.replace("_", " ") for name in names)
        object.__setattr__(self, "class_names", names)
        object.__setattr__(self, "prompt_names", words)
        for name in ("ids", "file_names"):
            object.__setattr__(self, name, np.asarray(getattr(self, name), dtype=object))
        n_rows, problems = len(self.ids), []
        if len(self.file_names) != n_rows:
            problems.append(f"{n_rows} ids, but {len(self.file_names)} file names")
        if len(words) != len(names):
            problems.append(f"{len(names)} class names, but {len(words)} prompt names")
        gather(problems, what="LabeledImages")
        labels = check_given_labels(self.given_labels, len(names), n_rows)
        object.__setattr__(self, "given_labels", labels)

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"LabeledImages({len(self)} images, {len(self.class_names)} classes; {self.rule})"

    @property
    def labeled(self) -> BoolArray:
        """Where a label is given, shape (N,)."""
        return self.given_labels >= 0

    def read_bytes(self, i: int) -> bytes:
        """The encoded image of row `i`.

        Raises
        ------
        UnreadableImageError
            If there is no file or it cannot be read.
        """
        return self.source.read_bytes(self._row(i))

    def image(self, i: int) -> Image.Image:
        """The image of row `i`, upright, 8-bit RGB (see `decode`).

        Raises
        ------
        UnreadableImageError
            If it cannot be read or decoded.
        """
        return decode(self.read_bytes(i))

    def location(self, i: int) -> str | None:
        """The absolute path of the file of row `i`; None when the image is embedded."""
        return self.source.location(self._row(i))

    def _row(self, i: int) -> int:
        if not -len(self) <= i < len(self):
            raise IndexError(f"row {i} of {len(self)} images")
        return int(i) % len(self)

    def subset(self, indices: Any) -> LabeledImages:
        """The rows `indices` (integers, or a boolean mask of shape (N,)), in that order."""
        rows = np.arange(len(self))[np.asarray(indices, dtype=None if len(indices) else np.int64)]
        return replace(
            self,
            ids=self.ids[rows],
            file_names=self.file_names[rows],
            given_labels=self.given_labels[rows],
            source=self.source.subset(rows),
        )

    def with_labels(self, labels: Any, class_names: Any = None) -> LabeledImages:
        """The same images with other labels and, when given, other classes.

        Parameters
        ----------
        labels : array of int, shape (N,)
            Class indices; -1 is a missing label.
        class_names : sequence of str, optional
            New classes; the words for prompts then start anew.

        Raises
        ------
        InputError
            If labels or names do not fit.
        """
        if class_names is None:
            return replace(self, given_labels=labels)
        names = check_class_names(class_names)
        return replace(self, given_labels=labels, class_names=names, prompt_names=())

    def class_counts(self) -> dict[str, int]:
        """Rows per class, in class order; missing labels are not counted."""
        given = self.given_labels[self.labeled]
        counts = np.bincount(given, minlength=len(self.class_names))
        return dict(zip(self.class_names, counts.tolist(), strict=True))
