"""Checks of a suite: all problems at once, each with its line and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable
from typing import Any

from .suite_yaml import Located, Place

READING = {
    "source": "text",
    "config": "text",
    "split": "text",
    "image_column": "text",
    "label_column": "text",
    "class_names": "text",
}
KEYS: dict[str, dict[str, str]] = {
    "suite": {
        "name": "text",
        "about": "text",
        "seeds": "seeds",
        "data": "mapping",
        "noise": "mapping",
        "models": "mapping",
        "methods": "mapping",
    },
    "data": {
        "train": "text",
        "test": "source",
        **{k: v for k, v in READING.items() if k != "source"},
        "templates": "text",
        "images": "count",
        "classes": "count",
        "shots": "count",
        "test_images": "count",
        "expect": "expect",
        "prepare": "text",
        "unchecked": "flag",
    },
    "noise": {
        "kind": "text",
        "rate": "rate",
        "matrix": "text",
        "normalize": "flag",
        "wrong": "count or zero",
        "confusions": "text",
        "column": "text",
        "file": "text",
        "truth_column": "text",
        "only": "only",
    },
    "models": {"id": "text", "only": "only"},
    "methods": {
        "detector": "text",
        "tuner": "text",
        "adapt": "text",
        "peer": "text",
        "params": "mapping",
        "after": "text",
        "relabel": "flag",
        "backbone": "text",
        "only": "only",
    },
    "source": READING,
}
EXPECT = ("classes", "train", "test")


def _whole(value: Any, low: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _is_rate(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1


KINDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "text": (lambda v: isinstance(v, str) and bool(v.strip()), "a text"),
    "count": (lambda v: _whole(v, 1), "an integer of at least 1"),
    "count or zero": (lambda v: _whole(v, 0), "an integer of at least 0"),
    "rate": (_is_rate, "a number in 0..1"),
    "flag": (lambda v: isinstance(v, bool), "true or false"),
    "mapping": (lambda v: isinstance(v, dict), "a mapping"),
    "seeds": (
        lambda v: (
            isinstance(v, list) and all(_whole(s, 0) for s in v) and 0 < len(v) == len(set(v))
        ),
        "a list of integers of at least 0, each once",
    ),
    "source": (lambda v: isinstance(v, str | dict), "a path, or a mapping with `source`"),
    "only": (
        lambda v: isinstance(v, dict) and all(isinstance(n, list) for n in v.values()),
        "a mapping from data, noise, models or methods to lists of names",
    ),
    "expect": (
        lambda v: isinstance(v, dict) and all(k in EXPECT and _whole(n, 1) for k, n in v.items()),
        f"a mapping from {', '.join(EXPECT)} to numbers",
    ),
}


class Checker:
    """Collects problems of a located document.

    Parameters
    ----------
    located : Located
        The document.
    """

    def __init__(self, located: Located):
        self.located = located
        self.problems = list(located.problems)

    def add(self, place: Place, text: str) -> None:
        """Note a problem at a place."""
        self.problems.append(f"{self.located.at(place)}: {text}")

    def keys(self, value: Any, place: Place, group: str, required: Iterable[str] = ()) -> dict:
        """The entries of a mapping that are known and of the right type.

        Parameters
        ----------
        value : object
            What stands there.
        place : tuple
            Where.
        group : str
            Which keys are allowed, a name of `KEYS`.
        required : iterable of str
            Keys that must be there.
        """
        allowed = KEYS[group]
        if not isinstance(value, dict):
            self.add(place, f"expected a mapping with the keys {', '.join(allowed)}, not {value!r}")
            return {}
        good = {}
        for key, item in value.items():
            if key not in allowed:
                self.add((*place, key), f"unknown key; {choices(str(key), allowed)}")
                continue
            fits, words = KINDS[allowed[key]]
            if fits(item):
                good[key] = item
            else:
                self.add((*place, key), f"expected {words}, not {item!r}")
        for key in required:
            if key not in value:
                self.add(place, f"the key {key!r} is missing")
        return good

    def one_of(self, value: str, allowed: Iterable[str], place: Place, what: str) -> bool:
        """Whether a name is known; a problem that lists the names where it is not."""
        names = list(allowed)
        if value in names:
            return True
        self.add(place, f"unknown {what} {value!r}; {choices(value, names)}")
        return False


def choices(given: str, allowed: Iterable[str]) -> str:
    """What is allowed, with the closest name first.

    Examples
    --------
    >>> choices("seedz", ["name", "seeds"])
    "choose one of name, seeds (did you mean 'seeds'?)"
    """
    names = [str(name) for name in allowed]
    close = difflib.get_close_matches(given, names, n=1)
    hint = f" (did you mean {close[0]!r}?)" if close else ""
    return f"choose one of {', '.join(names) or 'nothing'}{hint}"
