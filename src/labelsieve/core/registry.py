"""Names for losses, tuners, detectors and backbones, resolved only when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from .exceptions import InputError, did_you_mean


class Registry:
    """A mapping from a public name to an object that is imported at its first use.

    Parameters
    ----------
    kind : str
        What is registered, as used in error messages ("loss", "detector").
    entries : dict of str to str
        Public name to ``"package.module:attribute"``.

    Examples
    --------
    >>> paths = Registry("path", {"join": "os.path:join"})
    >>> paths.get("join")("a", "b")
    'a/b'
    """

    def __init__(self, kind: str, entries: dict[str, str]):
        self.kind = kind
        self.entries = entries

    def names(self) -> list[str]:
        """All names, in the order in which they were registered."""
        return list(self.entries)

    def get(self, name: str) -> Any:
        """The object behind a name.

        Raises
        ------
        InputError
            If the name is unknown; the message lists the names and the closest one.
        """
        if not isinstance(name, str) or name not in self.entries:
            raise InputError(
                f"unknown {self.kind} {name!r}; choose one of {', '.join(self.entries)}."
                + did_you_mean(name, self.entries)
            )
        module, _, attribute = self.entries[name].partition(":")
        return getattr(import_module(module), attribute)
