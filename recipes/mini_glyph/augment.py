"""Turn glyph fields into many different small colour images, a whole batch at a time."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from .render import SIDE

IMAGE_SIDE = 32
PALETTE = {
    "black": (0.02, 0.02, 0.02),
    "white": (0.98, 0.98, 0.98),
    "grey": (0.5, 0.5, 0.5),
    "red": (0.85, 0.1, 0.1),
    "green": (0.1, 0.6, 0.15),
    "blue": (0.1, 0.2, 0.85),
    "yellow": (0.95, 0.9, 0.15),
    "orange": (0.95, 0.55, 0.1),
    "purple": (0.5, 0.1, 0.6),
    "pink": (0.95, 0.6, 0.75),
    "brown": (0.45, 0.27, 0.1),
}
_BLACK, _WHITE = 0, 1
_CONTRAST = 0.7
_RESOLUTIONS = {8: 0.65, 12: 0.12, 16: 0.13, 32: 0.10}


@dataclass(frozen=True)
class Scene:
    """A batch of augmented images with what can truthfully be said of them.

    Attributes
    ----------
    pixels : Tensor of shape (batch, 3, IMAGE_SIDE, IMAGE_SIDE), values in [0, 1]
    glyphs, ink, paper : Tensor of shape (batch,)
        Index of the glyph in `fonts.GLYPHS`, of the ink and of the paper colour in `PALETTE`.
    """

    pixels: torch.Tensor
    glyphs: torch.Tensor
    ink: torch.Tensor
    paper: torch.Tensor


def uniform(n: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    """Draw n numbers from [low, high)."""
    return low + (high - low) * torch.rand(n, generator=generator)


def warp_grid(n: int, generator: torch.Generator) -> torch.Tensor:
    """Return sampling grids, (n, SIDE, SIDE, 2), that rotate, shear and bend a bitmap."""
    angle = 0.17 * torch.randn(n, generator=generator).clamp(-2.5, 2.5)
    shear = 0.22 * torch.randn(n, generator=generator).clamp(-2.5, 2.5)
    cos, sin, zero = angle.cos(), angle.sin(), torch.zeros(n)
    theta = torch.stack(
        [
            torch.stack([cos, cos * shear - sin, zero], 1),
            torch.stack([sin, sin * shear + cos, zero], 1),
        ],
        1,
    )
    grid = F.affine_grid(1.1 * theta, [n, 1, SIDE, SIDE], align_corners=False)
    bend = torch.randn(n, 2, 5, 5, generator=generator)
    bend = bend * uniform(n, 0.0, 0.13, generator)[:, None, None, None]
    bend = F.interpolate(bend, size=(SIDE, SIDE), mode="bicubic", align_corners=True)
    return grid + bend.permute(0, 2, 3, 1)


def ink_of(fields: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Warp the fields and lay ink of a random, slowly varying stroke width.

    Parameters
    ----------
    fields : Tensor of shape (n, 2, SIDE, SIDE)
        As in `render.GlyphPool`.

    Returns
    -------
    Tensor of shape (n, SIDE, SIDE), 0 for paper and 1 for ink
    """
    n = len(fields)
    grid = warp_grid(n, generator)
    fields = F.grid_sample(fields, grid, padding_mode="border", align_corners=False)
    from_line = torch.rand(n, generator=generator) < 0.6
    width = torch.where(
        from_line, uniform(n, 1.2, 4.5, generator), uniform(n, -0.8, 2.0, generator)
    )
    pressure = (
        torch.randn(n, 1, 3, 3, generator=generator)
        * uniform(n, 0, 0.8, generator)[:, None, None, None]
    )
    pressure = F.interpolate(pressure, size=(SIDE, SIDE), mode="bilinear", align_corners=True)[:, 0]
    field = torch.where(from_line[:, None, None], fields[:, 1], fields[:, 0])
    softness = uniform(n, 0.3, 1.0, generator)[:, None, None]
    return torch.sigmoid((width[:, None, None] + pressure - field) / softness)


def ink_box(ink: torch.Tensor) -> torch.Tensor:
    """Return the bounding boxes of the ink, (n, 4): left, top, right, bottom in [-1, 1]."""
    edges = []
    position = torch.arange(SIDE)
    for axis in (1, 2):
        marked = ink.amax(dim=axis) > 0.4
        marked = marked | ~marked.any(dim=1, keepdim=True)
        first = torch.where(marked, position, SIDE).amin(dim=1)
        last = torch.where(marked, position, -1).amax(dim=1) + 1
        edges.append((first * 2 / SIDE - 1, last * 2 / SIDE - 1))
    (left, right), (top, bottom) = edges
    return torch.stack([left, top, right, bottom], dim=1)


def place(ink: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Crop to the ink, trim or pad the edges a little, and stretch onto a square canvas.

    Most crops are tight, as in scanned and size-normalised characters; a fifth keep a wide margin.
    Narrow glyphs are stretched by a random share of what would give them a common width.
    """
    n = len(ink)
    box = ink_box(ink)
    centre, half = (box[:, :2] + box[:, 2:]) / 2, (box[:, 2:] - box[:, :2]) / 2
    aspect = half[:, 0] / half[:, 1]
    share = torch.rand(n, generator=generator)
    width = aspect**share * 0.75 ** (1 - share) * uniform(n, 0.8, 1.2, generator)
    loose = torch.rand(n, generator=generator) < 0.2
    margin = torch.where(loose, uniform(n, 1.1, 1.8, generator), uniform(n, 0.86, 1.08, generator))
    zoom = torch.stack([half[:, 0] / width.clamp(0.25, 1.0), half[:, 1] * width.clamp(min=1.0)], 1)
    zoom = zoom * margin[:, None]
    slack = torch.where(loose, (margin - 1) * 0.8, torch.full((n,), 0.06))
    shift = (torch.rand(n, 2, generator=generator) * 2 - 1) * slack[:, None] * half
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = zoom[:, 0], zoom[:, 1]
    theta[:, :, 2] = centre + shift
    grid = F.affine_grid(theta, [n, 1, SIDE, SIDE], align_corners=False)
    return F.grid_sample(ink[:, None], grid, align_corners=False)[:, 0]


def choose_colours(n: int, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw ink and paper: half white on black, a fifth the inverse, else any contrasting pair."""
    palette = torch.tensor(list(PALETTE.values()))
    pairs = torch.nonzero(torch.cdist(palette, palette) > _CONTRAST)
    ink, paper = pairs[torch.randint(len(pairs), (n,), generator=generator)].T.clone()
    kind = torch.rand(n, generator=generator)
    ink[kind < 0.5], paper[kind < 0.5] = _WHITE, _BLACK
    inverse = (kind >= 0.5) & (kind < 0.7)
    ink[inverse], paper[inverse] = _BLACK, _WHITE
    return ink, paper


def paint(
    ink: torch.Tensor, colours: tuple[torch.Tensor, torch.Tensor], generator: torch.Generator
) -> torch.Tensor:
    """Colour ink and paper with jitter; return images of shape (n, 3, SIDE, SIDE)."""
    n = len(ink)
    palette = torch.tensor(list(PALETTE.values()))
    jitter = 0.06 * torch.randn(2, n, 3, generator=generator)
    pure = (colours[0] <= _WHITE) & (colours[1] <= _WHITE)
    jitter = torch.where(pure[None, :, None], jitter.mean(dim=2, keepdim=True) * 0.5, jitter)
    front, back = palette[colours[0]] + jitter[0], palette[colours[1]] + jitter[1]
    weight = ink[:, None]
    return (weight * front[:, :, None, None] + (1 - weight) * back[:, :, None, None]).clamp(0, 1)


def resample(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Bring each image down to a random low resolution, add noise, and up to IMAGE_SIDE."""
    n = len(images)
    share = torch.tensor(list(_RESOLUTIONS.values()))
    choice = torch.multinomial(share, n, replacement=True, generator=generator)
    blocky = torch.rand(n, generator=generator) < 0.15
    result = images.new_empty(n, 3, IMAGE_SIDE, IMAGE_SIDE)
    for index, side in enumerate(_RESOLUTIONS):
        for nearest in (False, True):
            rows = torch.nonzero((choice == index) & (blocky == nearest))[:, 0]
            if len(rows) == 0:
                continue
            small = F.adaptive_avg_pool2d(images[rows], side)
            level = uniform(len(rows), 0, 0.05, generator)[:, None, None, None]
            noise = torch.randn(len(rows), 1, side, side, generator=generator)
            small = (small + level * noise).clamp(0, 1)
            result[rows] = _enlarge(small, nearest=nearest)
    return result


def _enlarge(images: torch.Tensor, *, nearest: bool) -> torch.Tensor:
    size = (IMAGE_SIDE, IMAGE_SIDE)
    if nearest:
        return F.interpolate(images, size=size, mode="nearest-exact")
    return F.interpolate(images, size=size, mode="bicubic", antialias=True).clamp(0, 1)


def make_scene(fields: torch.Tensor, glyphs: torch.Tensor, generator: torch.Generator) -> Scene:
    """Augment a batch of glyph fields into images.

    Parameters
    ----------
    fields : Tensor of shape (n, 2, SIDE, SIDE)
    glyphs : Tensor of shape (n,)
    generator : torch.Generator
        Decides everything random.
    """
    canvas = place(ink_of(fields, generator), generator)
    strength = uniform(len(canvas), 0.85, 1.3, generator)[:, None, None]
    colours = choose_colours(len(canvas), generator)
    images = paint((canvas * strength).clamp(0, 1), colours, generator)
    return Scene(resample(images, generator), glyphs, *colours)
