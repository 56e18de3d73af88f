"""The fonts that ship with matplotlib, and which of their characters draw which glyph."""

import unicodedata
from pathlib import Path

import matplotlib
from matplotlib.ft2font import FT2Font

DIGITS = "0123456789"
LOWER = "abcdefghijklmnopqrstuvwxyz"
GLYPHS = DIGITS + LOWER + LOWER.upper()
"""The 62 glyphs the model knows; a glyph's index is its position in this string."""

TRAIN_FONTS = (
    "DejaVuSans",
    "DejaVuSans-Bold",
    "DejaVuSans-Oblique",
    "DejaVuSansMono",
    "DejaVuSansMono-Bold",
    "DejaVuSansMono-Oblique",
    "DejaVuSerif",
    "DejaVuSerif-Bold",
    "DejaVuSerif-Italic",
    "STIXGeneral",
    "STIXGeneralBol",
    "STIXGeneralBolIta",
    "cmb10",
    "cmmi10",
    "cmr10",
    "cmss10",
    "cmti10",
)
HELD_OUT_FONTS = (
    "cmtt10",
    "DejaVuSansMono-BoldOblique",
    "DejaVuSerif-BoldItalic",
    "STIXGeneralItalic",
)
"""Never trained on. All but cmtt10 have relatives among the training fonts."""

_VARIANT_TAGS = ("<font>", "<super>", "<sub>", "<wide>")


def font_path(name: str) -> Path:
    """Return the file of a font in matplotlib's own data folder."""
    return Path(matplotlib.get_data_path()) / "fonts" / "ttf" / f"{name}.ttf"


def glyph_of(character: str) -> int | None:
    """Return the index of the glyph that a character draws, or None.

    Styled forms (mathematical bold, script, double-struck, superscript, ...) count as the plain
    letter or digit that Unicode says they are a form of.

    Examples
    --------
    >>> glyph_of("7"), glyph_of("\\N{MATHEMATICAL BOLD DIGIT SEVEN}"), glyph_of("+")
    (7, 7, None)
    """
    decomposition = unicodedata.decomposition(character)
    if decomposition and not decomposition.startswith(_VARIANT_TAGS):
        return None
    plain = unicodedata.normalize("NFKC", character)
    index = GLYPHS.find(plain) if len(plain) == 1 else -1
    return None if index < 0 else index


def characters(name: str) -> list[tuple[str, int]]:
    """Return the characters of a font that draw a known glyph, with the glyph's index."""
    codes = sorted(FT2Font(str(font_path(name))).get_charmap())
    found = [(chr(code), glyph_of(chr(code))) for code in codes]
    return [(character, glyph) for character, glyph in found if glyph is not None]
