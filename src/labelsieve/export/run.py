"""One export by name: options checked, nothing overwritten unasked."""

from __future__ import annotations

import inspect
import typing
from pathlib import Path
from typing import Any

from ..core.exceptions import InputError, gather
from .registry import EXPORTS

_IN_WORDS = {bool: "true or false"}
_TEXT = "a text (digits in quotes: --param 'NAME=\"5\"')"


def export_folder(
    source: Path | str,
    out: Path | str,
    *,
    format: str,
    options: dict[str, Any] | None = None,
    offline: bool = False,
    force: bool = False,
) -> list[Path]:
    """Write a saved classifier or a scan in another format.

    Parameters
    ----------
    source : Path or str
        Folder that labelsieve wrote.
    out : Path or str
        Folder or file to write, as the format has it.
    format : str
        One of `EXPORTS.names()`.
    options : dict, optional
        Keyword arguments of the format.
    offline : bool
        Do not ask the hub; for formats that may.
    force : bool
        Write into what exists.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        If the format or an option is unknown or of another kind, or the output exists.
    """
    function = EXPORTS.get(format)
    source, out, given = Path(source), Path(out), dict(options or {})
    parameters = inspect.signature(function).parameters.values()
    allowed = [p.name for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY]
    if unknown := sorted(set(given) - set(allowed)):
        raise InputError(
            f"export format {format!r} has no option {', '.join(unknown)}; "
            f"it takes {', '.join(allowed) or 'none'}"
        )
    if not source.is_dir():
        raise InputError(f"{source} is not a folder; give what `labelsieve tune` or `scan` wrote")
    if out.resolve() == source.resolve():
        raise InputError(f"the output must not be the folder that is exported, {source}")
    if not force and out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out} exists; add --force to write into it, or name another")
    if offline and "offline" in allowed:
        given["offline"] = True
    _check_kinds(format, function, given)
    return function(source, out, **given)


def _check_kinds(format: str, function: Any, given: dict[str, Any]) -> None:
    """An option of another kind than the format declares is an error, all in one message."""
    kinds = typing.get_type_hints(function)
    problems = [
        f"{name} must be {_IN_WORDS.get(kinds[name], _TEXT)}, not {value!r}"
        for name, value in given.items()
        if not isinstance(value, kinds.get(name, object))
    ]
    gather(problems, what=f"options of export format {format!r}")
