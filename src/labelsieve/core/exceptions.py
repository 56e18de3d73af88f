"""The errors a user of labelsieve can meet.

Every message says what was given, what is allowed and what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class LabelSieveError(Exception):
    """Base of all errors that labelsieve raises on purpose."""


class InputError(LabelSieveError, ValueError):
    """A bad argument, data set or file; the command line exits with status 2."""


class UnreadableImageError(LabelSieveError):
    """One image cannot be decoded; a run goes on and reports the row as unreadable."""


class StorageError(UnreadableImageError):
    """A storage kept failing; what it holds may be fine, and a later run may read it."""


class ModelUnavailableError(LabelSieveError):
    """A model is neither on this machine nor reachable."""


class NotFittedError(LabelSieveError, AttributeError):
    """An estimator is used before `fit`."""


class MissingExtraError(LabelSieveError, ImportError):
    """An optional dependency is not installed; the message names the extra."""


def did_you_mean(given: object, known: Iterable[str]) -> str:
    """A sentence that names the closest of the known names, or nothing."""
    close = difflib.get_close_matches(str(given), list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def gather(problems: list[str], *, what: str) -> None:
    """Raise one `InputError` that lists all problems, or return when there are none.

    Parameters
    ----------
    problems : list of str
        One sentence a problem.
    what : str
        What was being checked, for the first line of the message.

    Raises
    ------
    InputError
        If `problems` is not empty.
    """
    if len(problems) == 1:
        raise InputError(f"{what}: {problems[0]}")
    if problems:
        raise InputError("\n- ".join([f"{what}: {len(problems)} problems", *problems]))
