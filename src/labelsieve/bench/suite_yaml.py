"""YAML with line numbers, so that an error can say where it is."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ..core.exceptions import InputError

Place = tuple[Any, ...]


@dataclass
class Located:
    """A document and where its keys stand.

    Attributes
    ----------
    value : object
        What the document holds.
    lines : dict
        Path of keys and list positions -> line, from 1.
    problems : list of str
        Keys that occur twice; YAML itself would silently keep the last.
    """

    value: Any
    lines: dict[Place, int] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def at(self, place: Place) -> str:
        """A place in words: the line of the key, or of the nearest key above it, and its path.

        Examples
        --------
        >>> parse("a: 1\\nb: {c: 2}", "text").at(("b", "c"))
        'line 2, b.c'
        """
        known = place
        while known and known not in self.lines:
            known = known[:-1]
        path = ".".join(map(str, place)) or "the suite"
        return f"line {self.lines.get(known, 1)}, {path}"


def parse(text: str, where: str) -> Located:
    """Read a YAML document.

    Raises
    ------
    InputError
        If it is no YAML; the message has line and column.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
        found = Located(yaml.safe_load(text))
    except yaml.YAMLError as error:
        raise InputError(f"{where} is no YAML: {' '.join(str(error).split())}") from error
    if node is not None:
        _walk(node, (), found)
    return found


def read(path: Path) -> Located:
    """Read a YAML file.

    Raises
    ------
    InputError
        If it cannot be read or is no YAML.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {error}") from error
    return parse(text, str(path))


def _walk(node: yaml.Node, place: Place, found: Located) -> None:
    """Note the line of every key and list item."""
    found.lines.setdefault(place, node.start_mark.line + 1)
    if isinstance(node, yaml.MappingNode):
        seen = set()
        for key, value in node.value:
            inner = (*place, key.value)
            found.lines[inner] = key.start_mark.line + 1
            if key.value in seen:
                found.problems.append(f"{found.at(inner)}: the key occurs twice; rename one")
            seen.add(key.value)
            _walk(value, inner, found)
    elif isinstance(node, yaml.SequenceNode):
        for position, item in enumerate(node.value):
            _walk(item, (*place, position), found)
