"""Draw every glyph of a set of fonts once, as distance maps from which any stroke width follows."""

from dataclasses import dataclass

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import distance_transform_edt

from .fonts import characters, font_path

SIDE = 48
MARGIN = 5
_FONT_SIZE = 96


@dataclass(frozen=True)
class GlyphPool:
    """Rendered glyphs.

    Attributes
    ----------
    fields : Tensor of shape (n, 2, SIDE, SIDE)
        In pixels. Channel 0: signed distance to the glyph's outline, negative inside. Channel 1:
        distance to the glyph's centre line. Ink of a wanted weight is where a field is below a
        threshold.
    glyphs : Tensor of shape (n,)
        Index of each glyph in `fonts.GLYPHS`.
    """

    fields: torch.Tensor
    glyphs: torch.Tensor

    def __len__(self) -> int:
        return len(self.glyphs)


def draw(character: str, font: ImageFont.FreeTypeFont) -> np.ndarray | None:
    """Draw one character, cropped to its ink and centred in a SIDE x SIDE bitmap; None if blank."""
    left, top, right, bottom = font.getbbox(character)
    if right <= left or bottom <= top:
        return None
    canvas = Image.new("L", (int(right - left) + 2, int(bottom - top) + 2))
    ImageDraw.Draw(canvas).text((1 - left, 1 - top), character, fill=255, font=font)
    box = canvas.getbbox()
    if box is None:
        return None
    ink = canvas.crop(box)
    scale = (SIDE - 2 * MARGIN) / max(ink.size)
    width, height = (max(1, round(side * scale)) for side in ink.size)
    bitmap = Image.new("L", (SIDE, SIDE))
    corner = ((SIDE - width) // 2, (SIDE - height) // 2)
    bitmap.paste(ink.resize((width, height), Image.Resampling.LANCZOS), corner)
    return np.asarray(bitmap) > 127


def thin(bitmaps: np.ndarray) -> np.ndarray:
    """Thin all bitmaps at once to their centre lines (Zhang and Suen, 1984).

    Parameters
    ----------
    bitmaps : bool array of shape (n, height, width)
        Ink is True and does not touch the border.

    Returns
    -------
    bool array of the same shape
    """
    lines = bitmaps.copy()
    changed = True
    while changed:
        changed = False
        for first in (True, False):
            removable = _removable(lines, first=first)
            changed |= bool(removable.any())
            lines &= ~removable
    return lines


def _removable(lines: np.ndarray, *, first: bool) -> np.ndarray:
    """Return the pixels that one half step of the thinning takes away."""
    clockwise = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
    around = [np.roll(lines, (-dy, -dx), axis=(1, 2)) for dy, dx in clockwise]
    count = np.sum(around, axis=0, dtype=np.int8)
    pairs = zip(around, [*around[1:], around[0]], strict=True)
    rises = np.sum([~a & b for a, b in pairs], axis=0, dtype=np.int8)
    north, east, south, west = around[0], around[2], around[4], around[6]
    if first:
        keep = (north & east & south) | (east & south & west)
    else:
        keep = (north & east & west) | (north & south & west)
    return lines & (count >= 2) & (count <= 6) & (rises == 1) & ~keep


def distance_fields(bitmap: np.ndarray, line: np.ndarray) -> np.ndarray:
    """Return the two distance maps of `GlyphPool.fields` for one bitmap and its centre line."""
    outline = distance_transform_edt(~bitmap) - distance_transform_edt(bitmap)
    return np.stack([outline, distance_transform_edt(~line)]).astype(np.float32)


def render_pool(font_names: tuple[str, ...], limit: int | None = None) -> GlyphPool:
    """Render every known glyph of the fonts.

    Parameters
    ----------
    font_names : tuple of str
        Names from `fonts.TRAIN_FONTS` or `fonts.HELD_OUT_FONTS`.
    limit : int, optional
        Stop after this many drawings (for a smoke run).
    """
    bitmaps, glyphs = [], []
    for name in font_names:
        font = ImageFont.truetype(str(font_path(name)), _FONT_SIZE)
        for character, glyph in characters(name):
            bitmap = draw(character, font)
            if bitmap is not None:
                bitmaps.append(bitmap)
                glyphs.append(glyph)
    bitmaps, glyphs = bitmaps[:limit], glyphs[:limit]
    lines = thin(np.stack(bitmaps))
    fields = np.stack([distance_fields(b, line) for b, line in zip(bitmaps, lines, strict=True)])
    return GlyphPool(torch.from_numpy(fields), torch.tensor(glyphs))
