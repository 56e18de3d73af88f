"""What a reader found, and the one way from there to `LabeledImages`."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from ..core.exceptions import InputError
from ..core.text import counted
from .class_names import ClassSpec, read_class_spec
from .images import LabeledImages
from .labels import EncodedLabels, encode_labels
from .sources import FileSource, ImageSource


@dataclass(frozen=True)
class ReadOptions:
    """The arguments of `load_images`, passed to the readers."""

    image_column: str | None = None
    label_column: str | None = None
    class_names: Any = None
    split: str | None = None
    offline: bool = False
    labels: bool = True


@dataclass(frozen=True, eq=False)
class Listing:
    """Rows as a reader found them.

    Parameters
    ----------
    file_names : sequence of str, length N
    labels : sequence or None
        Label cells, length N; None when the data hold no labels.
    source : ImageSource
    rule : str
        How the data were read; the class order is appended.
    where : str
        The data's name, for errors.
    ids : sequence, optional
        The `id` column.
    integer_names : tuple of str, optional
        Names of integer labels, from the schema.
    spec : ClassSpec
        Class order found beside the data.
    notes : tuple of str
    """

    file_names: Sequence[str]
    labels: Any
    source: ImageSource
    rule: str
    where: str
    ids: Any = None
    integer_names: tuple[str, ...] | None = None
    spec: ClassSpec = field(default_factory=ClassSpec)
    notes: tuple[str, ...] = ()


def printable(name: str) -> str:
    r"""A file name as valid Unicode: bytes that are not UTF-8 become ``\xNN``.

    Examples
    --------
    >>> printable("caf\udce9.png")
    'caf\\xe9.png'
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        raw = name.encode("utf-8", "surrogateescape" if os.name != "nt" else "surrogatepass")
        return raw.decode("utf-8", "backslashreplace")
    return name


def assemble(listing: Listing, options: ReadOptions) -> LabeledImages:
    """Encode labels, make ids unique, collect notes.

    Raises
    ------
    InputError
        If there are no rows, fewer than two classes, or bad ids or labels.
    """
    where = listing.where
    if not len(listing.file_names):
        raise InputError(_no_images(listing))
    given = read_class_spec(options.class_names)
    spec = given if given.order is not None else listing.spec
    encoded = _encode(listing, spec, options)
    if len(encoded.class_names) < 2:
        raise InputError(_too_few_classes(listing, encoded))
    names = np.array([printable(name) for name in listing.file_names], dtype=object)
    repeated = pd.Series(names).duplicated().to_numpy()
    words, word_notes = _prompt_names(encoded.class_names, given)
    missing = int((encoded.labels < 0).sum())
    missing_notes = (f"{missing:,} of {counted(len(names), 'row')} kept without a label",)
    return LabeledImages(
        ids=_unique(names, repeated) if listing.ids is None else _check_ids(listing.ids, where),
        file_names=names,
        given_labels=encoded.labels,
        class_names=encoded.class_names,
        source=listing.source,
        rule=f"{listing.rule}; {encoded.order_rule}",
        notes=(
            *listing.notes,
            *encoded.notes,
            *(missing_notes if missing else ()),
            *(_repeat_notes(repeated) if listing.ids is None else ()),
            *(_conflicts(names, encoded.labels) if isinstance(listing.source, FileSource) else ()),
            *word_notes,
        ),
        prompt_names=words,
    )


def _seen(listing: Listing) -> str:
    """How the data were read, and what was met."""
    return "; ".join((listing.rule, *listing.notes))


def _no_images(listing: Listing) -> str:
    return (
        f"{listing.where}: no images found (read as: {_seen(listing)}); expected one folder of "
        "images a class, a metadata file or a table with rows"
    )


def _encode(listing: Listing, spec: ClassSpec, options: ReadOptions) -> EncodedLabels:
    labels = listing.labels
    if labels is None or not options.labels:
        labels = np.full(len(listing.file_names), None, dtype=object)
    try:
        return encode_labels(labels, integer_names=listing.integer_names, spec=spec)
    except InputError as error:
        raise InputError(f"{listing.where}: {error}") from error


def _too_few_classes(listing: Listing, encoded: EncodedLabels) -> str:
    found = f"only the class {encoded.class_names[0]!r}" if encoded.class_names else "no label"
    missing = int((encoded.labels < 0).sum())
    found += f", and {missing} rows whose label is missing (empty, NaN or -1)" if missing else ""
    return (
        f"{listing.where}: at least two classes are needed, but found {found} ({_seen(listing)}); "
        "check that this is the right folder or label column, or list all classes with class_names"
    )


def _check_ids(ids: Any, where: str) -> np.ndarray[Any, Any]:
    """The id column as unique strings."""
    series = pd.Series(ids, dtype=object)
    missing = int(series.isna().sum() + (series == "").sum())
    if missing:
        raise InputError(f"{where}: column 'id' is empty in {missing} rows; fill or drop it")
    texts = series.map(str)
    repeated = texts.to_numpy(dtype=object)[texts.duplicated().to_numpy()]
    if len(repeated):
        raise InputError(
            f"{where}: column 'id' must be unique, but {len(repeated)} rows repeat a value, "
            f"such as {repeated[0]!r}; make them unique or rename the column"
        )
    return texts.to_numpy(dtype=object)


def _repeat_notes(repeated: np.ndarray[Any, Any]) -> list[str]:
    """What becomes of the ids of rows whose file name occurred before."""
    n = int(repeated.sum())
    return [f"{counted(n, 'row')} with a file name used before: ids end in #2, ..."] if n else []


def _conflicts(names: np.ndarray[Any, Any], labels: np.ndarray[Any, Any]) -> list[str]:
    """A note about files with several labels; embedded images of one name need not be the same."""
    frame = pd.DataFrame({"name": names, "label": labels})
    pairs = frame.loc[frame["label"] >= 0].drop_duplicates()
    conflicts = list(dict.fromkeys(pairs.loc[pairs["name"].duplicated(), "name"]))
    shown = ", ".join(map(repr, conflicts[:5]))
    found = counted(len(conflicts), "file")
    return [f"conflicting labels for {found}: {shown}"] if conflicts else []


def _unique(names: np.ndarray[Any, Any], repeated: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """File names as ids, repeated ones with a number."""
    ids = names.copy()
    taken, count = (set(names) if repeated.any() else set()), {}
    for row in np.flatnonzero(repeated):
        name = names[row]
        number = count.get(name, 1) + 1
        while f"{name}#{number}" in taken:
            number += 1
        count[name] = number
        ids[row] = f"{name}#{number}"
        taken.add(ids[row])
    return ids


def _prompt_names(names: tuple[str, ...], given: ClassSpec) -> tuple[tuple[str, ...], list[str]]:
    if given.words is None:
        return (), []
    without = [name for name in names if name not in given.words]
    unused = [label for label in given.words if label not in names]
    if len(without) == len(names):
        raise InputError(
            f"{given.origin}: none of its labels is a class; it has {unused[:5]}, the classes "
            f"are {list(names[:5])}"
        )
    notes = []
    if without:
        notes.append(
            f"{given.origin} has no words for {len(without)} of the classes: {without[:5]}"
        )
    if unused:
        notes.append(
            f"{given.origin} has {counted(len(unused), 'name')} beside the classes: {unused[:5]}"
        )
    return tuple(given.words.get(name, name.replace("_", " ")) for name in names), notes
