"""Files by name or URL: local paths directly, everything else through fsspec, with retries."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

from ..core.exceptions import InputError, MissingExtraError, StorageError, UnreadableImageError

log = logging.getLogger(__name__)
T = TypeVar("T")

ATTEMPTS = 6
FIRST_WAIT = 0.2
"""Seconds before the second attempt; doubled before each further one, 6.2 in all."""

_URL = re.compile(r"[a-z][a-z0-9+.-]*://")
_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_FINAL = (FileNotFoundError, PermissionError, IsADirectoryError, NotImplementedError)


def is_url(name: object) -> bool:
    """Whether a name is a URL rather than a path.

    Examples
    --------
    >>> is_url("s3://bucket/photos"), is_url("photos/cat")
    (True, False)
    """
    return isinstance(name, str) and bool(_URL.match(name))


def join_url(root: str, name: str) -> str:
    """A name below a root; a name that is a URL itself stays."""
    return name if is_url(name) else f"{root.rstrip('/')}/{name.lstrip('/')}"


def expand_braces(name: str) -> list[str]:
    """The names that a range in braces stands for.

    Examples
    --------
    >>> expand_braces("photos-{008..010}.tar")
    ['photos-008.tar', 'photos-009.tar', 'photos-010.tar']
    """
    found = _RANGE.search(name)
    if found is None:
        return [name]
    low, high = found.groups()
    numbers = range(int(low), int(high) + 1)
    if not numbers:
        raise InputError(f"{name}: the range {found[0]} is empty; write the smaller number first")
    before, after = name[: found.start()], name[found.end() :]
    tails = expand_braces(after)
    return [f"{before}{n:0{len(low)}d}{tail}" for n in numbers for tail in tails]


def read(url: str, *, start: int | None = None, size: int | None = None) -> bytes:
    """The bytes of a remote file, or `size` bytes from `start`; tried again while storage fails.

    Parameters
    ----------
    url : str
        Any URL that fsspec knows.
    start : int, optional
        First byte; the whole file when left out.
    size : int, optional
        How many bytes must come, where that is known; fewer are a failed attempt.

    Raises
    ------
    UnreadableImageError
        If there is no such file, or no permission: trying again would not help.
    StorageError
        If every attempt failed.
    """
    end = None if start is None or size is None else start + size

    def attempt() -> bytes:
        system, path = filesystem(url)
        content = system.cat_file(path, start=start, end=end)
        if start is not None and size is not None and len(content) >= start + size > size:
            content = content[start : start + size]  # a web server that ignores ranges
        if size is not None and len(content) != size:
            raise OSError(f"{len(content):,} bytes came, {size:,} were expected")
        return content

    return retried(attempt, url)


def download(url: str, target: str) -> None:
    """Copy a remote file to a local path; the size must be the one that the storage states."""

    def attempt() -> None:
        system, path = filesystem(url)
        expected = system.size(path)
        system.get_file(path, target)
        size = os.path.getsize(target)
        if expected is not None and size != expected:
            raise OSError(f"{size:,} bytes came, {expected:,} were expected")

    retried(attempt, url)


def list_files(url: str) -> dict[str, int | None]:
    """Sizes of all files below a URL, by name relative to it, sorted."""

    def attempt() -> dict[str, int | None]:
        system, root = filesystem(url)
        system.invalidate_cache()
        root = root.rstrip("/")
        found = system.find(root, detail=True)
        return {
            name.removeprefix(root).lstrip("/"): entry.get("size")
            for name, entry in sorted(found.items())
        }

    try:
        return retried(attempt, url)
    except UnreadableImageError as error:
        raise InputError(f"cannot list {url}: {error}; check the address and your access") from None


def retried(attempt: Callable[[], T], what: str) -> T:
    """The result of the first attempt that works; see `read`."""
    for number in range(1, ATTEMPTS + 1):
        try:
            return attempt()
        except (ImportError, InputError):
            raise
        except Exception as caught:  # each file system has errors of its own
            error = _source(caught)
            if isinstance(error, _FINAL):
                raise UnreadableImageError(f"{_reason(error)}: {what}") from error
            if number == ATTEMPTS:
                raise StorageError(
                    f"storage failed {ATTEMPTS} times for {what}: {_reason(error)}"
                ) from error
            log.info("attempt %d of %d for %s: %s", number, ATTEMPTS, what, _reason(error))
            time.sleep(FIRST_WAIT * 2 ** (number - 1))
    raise AssertionError("unreachable")


def filesystem(url: str) -> tuple[Any, str]:
    """The fsspec file system of a URL and the path in it.

    Raises
    ------
    MissingExtraError
        If fsspec, or what it needs for this kind of URL, is not installed.
    InputError
        If the kind of URL is unknown.
    """
    system = _system(url.partition("://")[0])
    return system, system._strip_protocol(url)


@cache
def _system(scheme: str) -> Any:
    try:
        import fsspec

        return fsspec.filesystem(scheme)
    except ImportError as error:
        raise MissingExtraError(
            f"reading {scheme}:// needs a further package ({error}); "
            'pip install "labelsieve[scale]", or the package that the message names'
        ) from error
    except ValueError as error:
        raise InputError(f"unknown kind of URL {scheme}://: {error}") from error


def _source(error: BaseException) -> BaseException:
    """The error itself, or the failure that a file system took for a missing file.

    That over HTTP says "not found" of a server that cannot be reached or answers with a 500.
    """
    cause = error
    while isinstance(cause, FileNotFoundError) and cause.__cause__ is not None:
        cause = cause.__cause__
    unreachable = isinstance(cause, OSError | TimeoutError) and not isinstance(cause, _FINAL)
    status = getattr(cause, "status", None)
    return cause if unreachable or (isinstance(status, int) and status >= 500) else error


def _reason(error: BaseException) -> str:
    if isinstance(error, FileNotFoundError):
        return "file not found"
    text = " ".join(str(error).split())[:200]
    return f"{type(error).__name__}: {text}".rstrip(": ")
