"""From label cells (names, integers, nulls) to class indices and a class order."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unicodedata import normalize

import numpy as np
import pandas as pd

from ..core.exceptions import InputError
from ..core.validation import IntArray, check_labels
from .class_names import ClassSpec, clean_name, natural_key

MISSING = ("", "-1", "nan", "NaN")
"""Texts that stand for a missing label, unless an explicit class list has them."""


@dataclass(frozen=True, eq=False)
class EncodedLabels:
    """Labels as indices, shape (N,), with -1 for missing ones; classes; and what to tell."""

    labels: IntArray
    class_names: tuple[str, ...]
    order_rule: str
    notes: tuple[str, ...]


def encode_labels(
    values: Any, *, integer_names: tuple[str, ...] | None = None, spec: ClassSpec | None = None
) -> EncodedLabels:
    """Turn label cells into class indices.

    Missing are null, NaN, "", "nan" and -1, unless `spec` lists the text as a class. White space
    around and inside names is collapsed. Labels that are all integers are names if `spec` lists
    them, else indices into its order, else the class names "0", "1", ...

    Parameters
    ----------
    values : array, shape (N,)
        Label cells.
    integer_names : tuple of str, optional
        Names of the integers, from the schema of the file.
    spec : ClassSpec, optional
        An explicit class order.

    Raises
    ------
    InputError
        If a label is no name or integer, is out of range, or is not among explicit classes.

    Examples
    --------
    >>> encoded = encode_labels(["b ", "a10", "a9", None])
    >>> encoded.class_names, encoded.labels.tolist()
    (('a9', 'a10', 'b'), [2, 1, 0, -1])
    """
    spec = spec or ClassSpec()
    codes, cells = _factorize(values)
    texts = [_text(cell, spec.order or (), integer_names or ()) for cell in cells]
    notes = _space_notes(cells, texts)
    keys = texts
    order, order_rule = spec.order, f"class order from {spec.origin}"
    if integer_names is not None:
        names = tuple(clean_name(str(name)) for name in integer_names)
        keys = _named(cells, texts, names)
        if order is None:
            order, order_rule = tuple(dict.fromkeys(names)), "class order from the file's schema"
    if order is None:
        order = tuple(sorted({key for key in keys if key is not None}, key=natural_key))
        order_rule = "class order: natural order of the names"
    keys = _known(keys, order, spec.origin or "the class list")
    index = {name: i for i, name in enumerate(order)}
    table = np.array([-1 if key is None else index[key] for key in keys] + [-1], dtype=np.int64)
    notes += _alike(order, str.casefold, "by case")
    notes += _alike(order, lambda name: normalize("NFC", name), "in how letters are encoded")
    return EncodedLabels(table[codes], order, order_rule, tuple(notes))


def check_given_labels(labels: Any, n_classes: int, n_rows: int | None = None) -> IntArray:
    """Class indices as a new int64 array of shape (N,), with -1 for missing ones allowed.

    Raises
    ------
    InputError
        If the number of rows, the type or the range is off.
    """
    array = np.asarray(labels)
    if array.dtype.kind not in "iu":
        raise InputError(f"labels: expected integer class indices, but got dtype {array.dtype}")
    n_rows = array.size if n_rows is None else n_rows
    check_labels(np.where(array == -1, 0, array), n_rows, n_classes)
    return array.astype(np.int64)


def _factorize(values: Any) -> tuple[IntArray, list[Any]]:
    """Codes (-1 for null) and the distinct cells."""
    array = np.asarray(values)
    if array.dtype.kind not in "OiufbU" or array.ndim != 1:
        raise InputError(f"labels must be names or integers, one a row, not {array.dtype} cells")
    try:
        codes, cells = pd.factorize(array if array.dtype.kind != "U" else array.astype(object))
    except TypeError as error:
        raise InputError(
            "a label cell holds several values; one label an image is needed, so choose another "
            "label column or split the rows"
        ) from error
    return codes, list(cells)


def _text(cell: Any, order: tuple[str, ...], names: tuple[str, ...]) -> str | None:
    """The name in a cell; None when it is missing."""
    if isinstance(cell, bool | np.bool_):
        return str(bool(cell))
    if isinstance(cell, float | np.floating):
        if not float(cell).is_integer():
            raise InputError(
                f"label {float(cell)!r} is a fraction; labels are names or integers, so choose "
                "another label column"
            )
        cell = int(cell)
    if not isinstance(cell, str | int | np.integer):
        raise InputError(f"label {cell!r} is neither a name nor an integer")
    text = clean_name(str(cell))
    kept = text in order or (isinstance(cell, str) and text in names)
    return None if text in MISSING and not kept else text


def _named(cells: list[Any], texts: list[str | None], names: tuple[str, ...]) -> list[str | None]:
    """Integers as the names that the schema gives them; what is a name already stays."""
    integers = [
        not isinstance(cell, str) or text not in names
        for cell, text in zip(cells, texts, strict=True)
    ]
    numbers = [text if is_one else None for text, is_one in zip(texts, integers, strict=True)]
    found = _by_index(numbers, names, "the file's schema")
    return [
        new if is_one else text for new, text, is_one in zip(found, texts, integers, strict=True)
    ]


def _by_index(texts: list[str | None], names: tuple[str, ...], origin: str) -> list[str | None]:
    """Integers as indices into names."""
    bad = [text for text in texts if text is not None and not _within(text, len(names))]
    if bad:
        raise InputError(
            f"{len(bad)} distinct labels do not fit the {len(names)} classes of {origin}, integers "
            f"in 0..{len(names) - 1} or their names: {bad[:5]}; correct the labels or the list"
        )
    return [None if text is None else names[int(text)] for text in texts]


def _within(text: str, size: int) -> bool:
    return bool(re.fullmatch(r"[0-9]{1,9}", text)) and int(text) < size


def _known(keys: list[str | None], order: tuple[str, ...], origin: str) -> list[str | None]:
    """Keys that are all classes; integers of which none is a class name are indices instead."""
    present = [key for key in keys if key is not None]
    classes = set(order)
    unknown = [key for key in present if key not in classes]
    if unknown == present and all(re.fullmatch(r"[0-9]+", key) for key in present):
        return _by_index(keys, order, origin)
    if unknown:
        raise InputError(
            f"{len(unknown)} labels are not among the {len(order)} classes of {origin}: "
            f"{sorted(unknown, key=natural_key)[:5]}; add them there or correct the labels "
            "(to give only words for prompts, use a JSON object of label: words)"
        )
    return keys


def _space_notes(cells: list[Any], texts: list[str | None]) -> list[str]:
    changed = [c for c, t in zip(cells, texts, strict=True) if isinstance(c, str) and t and c != t]
    if not changed:
        return []
    shown = ", ".join(repr(cell) for cell in sorted(changed)[:5])
    return [f"{len(changed)} class names had extra white space, which was removed: {shown}"]


def _alike(names: tuple[str, ...], form: Callable[[str], str], how: str) -> list[str]:
    """A note about names that are the same once they are brought into a form."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        groups[form(name)].append(name)
    shown = [" / ".join(map(repr, group)) for group in groups.values() if len(group) > 1]
    if not shown:
        return []
    return [
        f"class names that differ only {how} are kept apart: {', '.join(shown[:5])}; if they "
        "mean the same, give them one spelling in the data and load again"
    ]
