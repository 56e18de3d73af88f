"""Zero-shot classification: class names in templates (Radford et al., 2021, section 3.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch.nn.functional import normalize

from ..backbones.base import AbstractBackbone
from ..core.exceptions import InputError
from ..core.validation import check_class_names
from .classifier import TextClassifier
from .templates import TEMPLATES


def zero_shot_classifier(
    backbone: AbstractBackbone,
    class_names: Sequence[str],
    templates: str | Sequence[str] = ("a photo of a {}.",),
    *,
    batch_size: int = 256,
) -> TextClassifier:
    """A classifier from class names alone.

    The normalised text features of a class are averaged over the templates and normalised again.

    Parameters
    ----------
    backbone : AbstractBackbone
        The text encoder.
    class_names : sequence of str
        K names; underscores are read as spaces in the texts.
    templates : str or sequence of str
        Templates with one "{}" each, or a name in `TEMPLATES` ("default", "ensemble", "dtd", ...).
    batch_size : int
        Texts encoded together.

    Returns
    -------
    TextClassifier

    Raises
    ------
    InputError
        If a template lacks its "{}", its name is unknown, or a text is too long.

    Examples
    --------
    >>> from labelsieve.prompts import zero_shot_classifier
    >>> zero_shot_classifier(backbone, ["cat", "dog"], "ensemble")  # doctest: +SKIP
    """
    names = check_class_names(class_names)
    chosen = resolve_templates(templates)
    features = backbone.encode_texts(class_texts(names, chosen), batch_size=batch_size)
    mean = features.view(len(names), len(chosen), -1).mean(dim=1)
    return TextClassifier(normalize(mean, dim=-1), names, backbone.logit_scale, backbone.logit_bias)


def class_texts(class_names: Sequence[str], templates: Sequence[str]) -> list[str]:
    """All class names in all templates, the templates of a class one after the other.

    Examples
    --------
    >>> class_texts(["sea_lion"], ["a {}.", "the {}."])
    ['a sea lion.', 'the sea lion.']
    """
    words = [" ".join(name.replace("_", " ").split()) for name in class_names]
    return [template.replace("{}", word) for word in words for template in templates]


def resolve_templates(templates: str | Sequence[str]) -> tuple[str, ...]:
    """Templates by name, one template, or several, as a checked tuple.

    Raises
    ------
    InputError
        If a name is unknown, there is no template, or one has not exactly one "{}".

    Examples
    --------
    >>> resolve_templates("dtd")
    ('{} texture.',)
    """
    if isinstance(templates, str) and "{}" not in templates:
        if templates not in TEMPLATES:
            raise InputError(
                f"templates={templates!r} is not known; choose one of {', '.join(TEMPLATES)}, or "
                "give templates with '{}' in the place of the class name"
            )
        return TEMPLATES[templates]
    several = isinstance(templates, Sequence) and not isinstance(templates, str)
    chosen: tuple[Any, ...] = tuple(templates) if several else (templates,)
    wrong = [one for one in chosen if not isinstance(one, str) or one.count("{}") != 1]
    if wrong or not chosen:
        raise InputError(
            f"each template needs '{{}}' once, in the place of the class name; got {wrong or '()'}"
        )
    return chosen
