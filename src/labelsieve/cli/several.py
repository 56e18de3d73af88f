"""Flags that take several values in a row: `--losses ce dspt` is `--losses ce --losses dspt`."""

from __future__ import annotations

from typing import Any

from typer.core import TyperCommand


class SeveralValues(TyperCommand):
    """A command whose repeatable flags take all the words up to the next flag.

    A positional argument therefore comes before them, as the usage line shows it.
    """

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Repeat the flag before every further value."""
        repeatable = {
            name
            for parameter in self.params
            if getattr(parameter, "multiple", False)
            for name in parameter.opts
        }
        spread: list[str] = []
        flag, has_value = "", False
        for word in args:
            if word.startswith("-"):
                flag, has_value = (word if word in repeatable else ""), False
            elif flag and has_value:
                spread.append(flag)
            elif flag:
                has_value = True
            spread.append(word)
        return super().parse_args(ctx, spread)
