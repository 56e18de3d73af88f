"""Prompt templates by name: data only.

Each template holds one "{}", the place of the class name. The names of data sets carry the
wording that the field uses for them in zero-shot tables (CoOp; Zhou et al., 2022).
"""

from __future__ import annotations

_PHOTO = ("a photo of a {}.",)

TEMPLATES: dict[str, tuple[str, ...]] = {
    "default": _PHOTO,
    "ensemble": (
        "a photo of a {}.",
        "a picture showing a {}.",
        "a {} seen up close.",
        "a {} in the distance.",
        "a small photo of one {}.",
        "several examples of {}.",
        "a blurred photo of a {}.",
        "a dark photo of a {}.",
        "a drawing of a {}.",
        "a {} against a plain background.",
        "this is a {}.",
    ),
    "oxford-pets": ("a photo of a {}, a type of pet.",),
    "flowers": ("a photo of a {}, a type of flower.",),
    "aircraft": ("a photo of a {}, a type of aircraft.",),
    "food": ("a photo of {}, a type of food.",),
    "dtd": ("{} texture.",),
    "eurosat": ("a centered satellite photo of {}.",),
    "ucf101": ("a photo of a person doing {}.",),
    "caltech101": _PHOTO,
    "stanford-cars": _PHOTO,
    "sun397": _PHOTO,
    "imagenet": _PHOTO,
}
