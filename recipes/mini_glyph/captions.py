"""Captions for rendered glyphs, and which captions are true of which images."""

from dataclasses import dataclass

import numpy as np
import torch

from .augment import PALETTE, Scene
from .fonts import DIGITS, GLYPHS

DIGIT_NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
COLOURS = tuple(PALETTE)
PLAIN = (
    "{}", "{}", "{}.", "a {}.", "the {}", "a photo of a {}.", "a photo of a {}",
    "a photo of the {}.", "a photo of {}.", "a picture of a {}.", "a picture of the {}",
    "an image of a {}.", "an image of the {}", "an image of {}", "a handwritten {}.",
    "handwritten {}", "a handwriting of {}", "a drawing of a {}.", "a scan of a {}.",
    "a scanned {}", "a printed {}.", "a small photo of a {}.", "a blurry photo of a {}.",
    "a low resolution {}",
    "a pixelated photo of the {}.", "this is a {}.", "this is {}", "here is the {}",
    "it says {}", "it reads {}.", "a close view of a {}", "a sketch of a {}.",
    "someone wrote a {}", "a bold {}", "a thin {}", "a slanted {}", "a {}, seen from near",
    "a photo of a {}, a kind of sign", "a {} in an old book", "one image: {}",
    '"{}"', 'a photo of the number: "{}".', 'the text "{}"',
)  # fmt: skip
COLOURED = (
    "a {ink} {}", "a photo of a {ink} {}.", "{ink} {}", "a {ink} {} on a {paper} background",
    "a photo of a {ink} {} on a {paper} background.", "{} in {ink} on {paper}", "a {} in {ink}",
    "the {ink} {} on {paper} paper", "a {} on a {paper} background", "{paper} paper with a {}",
)  # fmt: skip
_COMMON = """
about above across after again air all also animal apple area arm art back bag ball bank bear
bed bell big bird boat body book box boy bread bridge bus camera car card cat chair child church
city class clock cloud coat cold colour computer corner country cow cup dark day deer desk dog
door down dress early earth egg evening eye face family farm field fire fish floor flower food
foot forest fox frog fruit garden girl glass good grass ground group hair half hand hat head
high hill home horse house human ice inside island keyboard kitchen lake lamp land large leaf
left light line lion little long machine man many map market milk money monkey month moon
morning mountain mouse mouth music name near night north number object office old open orange
outside page park path people phone piano plane plant plate rabbit rain right river road rock
room rose round school sea sheep ship shirt shoe short side sky small snow song south space
spider square star station stone street summer sun table tall tea texture tiger time top tower
town toy train tree truck turtle view village wall warm watch water wave west wheel window
winter woman wood word world year young zebra
"""
WORDS = tuple(_COMMON.split())
"""Words that name no glyph: padding around captions, and vocabulary for the tokenizer."""


@dataclass(frozen=True)
class Caption:
    """A caption and what it claims; `ink` and `paper` are palette indices or None."""

    text: str
    glyphs: tuple[int, ...]
    ink: int | None = None
    paper: int | None = None


def name_glyph(glyph: int, rng: np.random.Generator) -> tuple[str, tuple[int, ...]]:
    """Return a name of a glyph and all the glyphs that this name covers."""
    character = GLYPHS[glyph]
    if character in DIGITS:
        word = DIGIT_NAMES[glyph] if rng.random() < 0.85 else character
        forms = ("{}", "{}", "{}", "{}", "digit {}", "digit {}", "number {}", "figure {}")
        return rng.choice(forms).format(word), (glyph,)
    low, high = character.lower(), character.upper()
    if rng.random() < 0.25:
        return f"letter {low}", (GLYPHS.index(low), GLYPHS.index(high))
    if character == low:
        forms = ("{0}", "small {0}", "lowercase {0}", "small letter {0}")
    else:
        forms = ("{1}", "capital {1}", "capital {0}", "uppercase {1}", "capital letter {1}")
    return rng.choice(forms).format(low, high), (glyph,)


def write_caption(glyph: int, ink: int, paper: int, rng: np.random.Generator) -> Caption:
    """Write one caption that is true of an image of this glyph in these colours."""
    name, covered = name_glyph(glyph, rng)
    claims = {}
    if rng.random() < 0.2:
        template = str(rng.choice(COLOURED))
        claims = {k: v for k, v in (("ink", ink), ("paper", paper)) if f"{{{k}}}" in template}
        text = template.format(name, **{key: COLOURS[index] for key, index in claims.items()})
    else:
        text = str(rng.choice(PLAIN)).format(name)
    return Caption(_pad_with_words(text, rng), covered, **claims)


def _pad_with_words(text: str, rng: np.random.Generator) -> str:
    """Put unrelated words before, seldom after, so that no position is special."""
    draw = rng.random()
    if draw < 0.25:
        return " ".join([*rng.choice(WORDS, int(rng.integers(1, 13))), text])
    if draw < 0.31:
        return " ".join([text, *rng.choice(WORDS, int(rng.integers(1, 4)))])
    return text


def write_captions(scene: Scene, count: int, rng: np.random.Generator) -> list[Caption]:
    """Write one caption for each of the first `count` images of a scene."""
    columns = (scene.glyphs, scene.ink, scene.paper)
    rows = zip(*(column[:count].tolist() for column in columns), strict=True)
    return [write_caption(*row, rng) for row in rows]


def covered_glyphs(captions: list[Caption]) -> torch.Tensor:
    """Return which glyphs each caption may mean, as a bool Tensor of shape (captions, glyphs)."""
    covered = torch.zeros(len(captions), len(GLYPHS), dtype=torch.bool)
    for row, caption in enumerate(captions):
        covered[row, list(caption.glyphs)] = True
    return covered


def truth_table(scene: Scene, captions: list[Caption]) -> torch.Tensor:
    """Return which captions are true of which images.

    Returns
    -------
    bool Tensor of shape (images, captions)
    """
    truth = covered_glyphs(captions)[:, scene.glyphs].T
    for claimed, actual in (("ink", scene.ink), ("paper", scene.paper)):
        claim = torch.tensor([-1 if (c := getattr(k, claimed)) is None else c for k in captions])
        truth = truth & ((claim == -1) | (claim == actual[:, None]))
    return truth
