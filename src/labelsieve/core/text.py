"""Words about numbers."""

from __future__ import annotations


def counted(n: int, what: str) -> str:
    """A number and its noun.

    Examples
    --------
    >>> counted(1, "image"), counted(1200, "image")
    ('1 image', '1,200 images')
    """
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"
