"""Numbers as people read them."""

from __future__ import annotations


def count(number: float) -> str:
    """A whole number with thousands separators."""
    return f"{int(number):,}"


def percent(share: float) -> str:
    """A share in per cent, with one digit, or two significant ones when it is small.

    Examples
    --------
    >>> percent(0.1234), percent(0.00041), percent(0), percent(1)
    ('12.3%', '0.041%', '0%', '100%')
    """
    value = 100 * share
    if value in (0, 100):
        return f"{value:.0f}%"
    return f"{value:.1f}%" if abs(value) >= 0.95 else f"{value:.2g}%"


def seconds(duration: float) -> str:
    """A duration in words.

    Examples
    --------
    >>> seconds(0.25), seconds(61), seconds(7325)
    ('0.2 s', '1 min 1 s', '2 h 2 min')
    """
    if duration < 60:
        return f"{duration:.1f} s"
    minutes, rest = divmod(round(duration), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"
