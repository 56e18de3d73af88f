"""Class order and the words for prompts: what `class_names` and `classes.json` may hold."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.exceptions import InputError
from ..core.validation import check_class_names

CLASSES_FILE = "classes.json"


def clean_name(name: str) -> str:
    """Trim a class name and collapse runs of white space inside it.

    Examples
    --------
    >>> clean_name("  sea   lion ")
    'sea lion'
    """
    return " ".join(name.split())


def natural_key(name: str) -> tuple[Any, ...]:
    """Sorting key in which "class 2" comes before "class 10" and case matters last.

    Examples
    --------
    >>> sorted(["c10", "C1", "c2"], key=natural_key)
    ['C1', 'c2', 'c10']
    """
    parts = re.split(r"([0-9]+)", name.casefold())
    key = [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part]
    return (key, name)


@dataclass(frozen=True)
class ClassSpec:
    """What is known about the classes before the labels are read.

    Parameters
    ----------
    order : tuple of str, optional
        All classes in order.
    words : dict of str to str
        Class name to the words for prompts.
    origin : str
        Where it comes from, for the reading rule and for errors.
    """

    order: tuple[str, ...] | None = None
    words: Mapping[str, str] | None = None
    origin: str = ""


def read_class_spec(class_names: Any) -> ClassSpec:
    """Understand the `class_names` argument.

    Parameters
    ----------
    class_names : None, sequence of str, mapping or path
        Names in class order; a mapping from label to words for prompts; or a file with one of
        them: JSON (list or object) or text with one class a line.

    Raises
    ------
    InputError
        If the file cannot be read or the content is neither list nor mapping.

    Examples
    --------
    >>> read_class_spec(["cat", "dog"]).order
    ('cat', 'dog')
    """
    if class_names is None:
        return ClassSpec()
    if isinstance(class_names, str | os.PathLike):
        return _read_file(Path(class_names).expanduser())
    return _from_value(class_names, "class_names")


def read_classes_json(folder: Path) -> ClassSpec:
    """The class order in a folder's `classes.json`, or nothing when there is no such file.

    Raises
    ------
    InputError
        If the file is damaged or holds no list of names.
    """
    path = folder / CLASSES_FILE
    if not path.is_file():
        return ClassSpec()
    spec = _read_file(path)
    if spec.order is None:
        raise InputError(f"{path}: expected a JSON list of class names in class order")
    return spec


def _read_file(path: Path) -> ClassSpec:
    try:
        text = path.read_text(encoding="utf-8-sig")
        value = json.loads(text) if path.suffix.lower() == ".json" else text.splitlines()
    except FileNotFoundError as error:
        raise InputError(
            f"class names: there is no file {str(path)!r}; give a JSON file (list, or object of "
            "label: words), a text file with one class a line, or a list"
        ) from error
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"class names: cannot read {str(path)!r}: {error}") from error
    if isinstance(value, list) and path.suffix.lower() != ".json":
        value = [line for line in value if line.strip()]
    return _from_value(value, path.name)


def _from_value(value: Any, origin: str) -> ClassSpec:
    if isinstance(value, Mapping):
        return _from_mapping(value, origin)
    try:
        names = [clean_name(str(name)) for name in value]
    except TypeError:
        raise InputError(
            f"{origin}: expected a list of class names or an object of label: words, "
            f"not {type(value).__name__}"
        ) from None
    return ClassSpec(order=check_class_names(names), origin=origin)


def _from_mapping(value: Mapping[Any, Any], origin: str) -> ClassSpec:
    """{label: words}, or {class: index} as many tools write it."""
    indices = list(value.values())
    if indices and all(isinstance(i, int) and not isinstance(i, bool) for i in indices):
        if sorted(indices) != list(range(len(indices))):
            raise InputError(f"{origin}: class indices must be 0..{len(indices) - 1}, each once")
        return _from_value(sorted(value, key=value.__getitem__), origin)
    words = {clean_name(str(key)): clean_name(str(word)) for key, word in value.items()}
    empty = [key for key, word in words.items() if not word]
    if empty:
        raise InputError(f"{origin}: no words are given for {empty[:5]}")
    return ClassSpec(words=words, origin=origin)
