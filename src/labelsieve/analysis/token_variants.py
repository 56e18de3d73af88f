"""The prompts that `analyze class-tokens` compares, after the study of PTNL (ICCV 2023)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..core.exceptions import InputError


@dataclass(frozen=True)
class Variant:
    """A kind of prompt.

    Parameters
    ----------
    study : str
        The question it belongs to: one panel of the figure.
    label : str
        What it is, in words.
    class_tokens : str
        See `CoOp`.
    params : dict
        Further constructor arguments of `CoOp`.
    """

    study: str
    label: str
    class_tokens: str = "names"
    params: dict[str, Any] = field(default_factory=dict)


VARIANTS = {
    "names": Variant("class tokens", "true names, fixed"),
    "random": Variant("class tokens", "random tokens, fixed", "random"),
    "shuffled": Variant("class tokens", "names of other classes, fixed", "shuffled"),
    "tuned": Variant("class tokens", "names, tuned with the context", "tuned"),
    "tuned-only": Variant("class tokens", "names tuned, context fixed", "tuned-only"),
    "class-specific": Variant(
        "context", "a context for each class, from text", params={"class_specific": True}
    ),
    "random-4": Variant(
        "context", "4 random tokens", params={"initial_text": None, "n_context": 4}
    ),
    "random-16": Variant(
        "context", "16 random tokens", params={"initial_text": None, "n_context": 16}
    ),
    "class-specific-16": Variant(
        "context",
        "16 random tokens for each class",
        params={"initial_text": None, "n_context": 16, "class_specific": True},
    ),
}
"""By name. All but the last four have one context for all classes, started from a text."""


def get_variants(names: list[str]) -> dict[str, Variant]:
    """The variants of these names, without repeats.

    Raises
    ------
    InputError
        If a name is unknown or there is none.
    """
    unknown = [name for name in names if name not in VARIANTS]
    if unknown or not names:
        raise InputError(
            f"unknown variants {unknown}; choose of {', '.join(VARIANTS)}"
            if unknown
            else f"no variant is given; choose of {', '.join(VARIANTS)}"
        )
    return {name: VARIANTS[name] for name in dict.fromkeys(names)}
