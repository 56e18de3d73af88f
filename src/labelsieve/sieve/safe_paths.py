"""File names inside a new folder, made from labels and names that may hold anything."""

from __future__ import annotations

import hashlib
import re
import unicodedata

LONGEST = 150  # bytes of one part of a path; file systems allow 255
UNLABELED = "_unlabeled"
_BAD = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\/]')
_RESERVED = re.compile(r"(con|prn|aux|nul|com[0-9]|lpt[0-9])(\..*)?", re.IGNORECASE)


class SafePaths:
    """Relative paths ``label/name`` that stay inside a folder and do not collide.

    No part is empty, hidden, "." or "..", or holds characters that some file systems refuse. Two
    names that differ in case only count as the same.

    Examples
    --------
    >>> paths = SafePaths()
    >>> paths.path("cat", "../../etc/passwd"), paths.path("a/b", "dog/1.png")
    ('cat/etc/passwd', 'a_b/dog/1.png')
    >>> paths.path("dog", "cat/1.png", "cat"), paths.path("dog", "dog/1.png")
    ('dog/1.png', 'dog/1-2.png')
    """

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()
        self._labels: dict[str, str] = {}

    def path(
        self, label: str | None, name: str, before: str | None = None, *, ending: str = ""
    ) -> str:
        """A new path for an image of a class (None: without a label).

        Folders of the image's name stay, without a first one that is the label, or the label
        `before`. `ending` is added to a name that has none.
        """
        parts = [part for part in re.split(r"[/\\]", name) if part not in ("", ".", "..")]
        if len(parts) > 1 and parts[0] in (label, before):
            parts = parts[1:]
        inner = [safe_part(part) for part in parts] or ["image"]
        inner[-1] += "" if "." in inner[-1] else ending
        top = self._folder(label)
        folders = ["/".join([top, *inner[:n]]) for n in range(1, len(inner))]
        if any(_key(folder) in self._files for folder in folders):  # a file has that name
            inner, folders = [safe_part("_".join(inner))], []
        self._folders.update(_key(folder) for folder in folders)
        return self._unique("/".join([top, *inner]))

    def _folder(self, label: str | None) -> str:
        """One folder a label; different labels never share one."""
        key = label or ""
        if key not in self._labels:
            taken = {name.casefold() for name in self._labels.values()}
            name = safe_part(label) if label else UNLABELED
            plain, number = name, 2
            while name.casefold() in taken:
                name, number = f"{plain}-{number}", number + 1
            self._labels[key] = name
        return self._labels[key]

    def _unique(self, path: str) -> str:
        folder, _, name = path.rpartition("/")
        stem, dot, ending = name.rpartition(".")
        stem, ending = (stem, dot + ending) if stem else (name, "")
        number, candidate = 2, path
        while _key(candidate) in self._files or _key(candidate) in self._folders:
            candidate, number = f"{folder}/{stem}-{number}{ending}", number + 1
        self._files.add(_key(candidate))
        return candidate


def safe_part(text: str) -> str:
    """One part of a path, as close to the text as is safe everywhere."""
    part = _BAD.sub("_", text.encode("utf-8", "replace").decode()).strip().rstrip(". ")
    if not part or part.startswith(".") or _RESERVED.fullmatch(part):
        part = f"_{part}"
    raw = part.encode()
    if len(raw) <= LONGEST:
        return part
    stem, dot, ending = part.rpartition(".")
    ending = dot + ending if stem and len(ending) <= 8 else ""
    mark = hashlib.blake2b(raw, digest_size=4).hexdigest()
    room = LONGEST - len(mark) - 1 - len(ending.encode())
    return f"{raw[:room].decode('utf-8', 'ignore')}-{mark}{ending}"


def _key(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()
