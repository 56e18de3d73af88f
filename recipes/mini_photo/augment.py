"""Strong augmentation of small photos, a whole batch at a time."""

import torch
import torch.nn.functional as F

SIDE = 64
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)
_LOW_RESOLUTION, _GREY = 0.5, 0.1


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """Scale pixels from [0, 1] to what the network reads, as the saved image processor does."""
    return (pixels - torch.tensor(MEAN)[:, None, None]) / torch.tensor(STD)[:, None, None]


def uniform(n: int, low: float, high: float, generator: torch.Generator) -> torch.Tensor:
    """Draw n numbers from [low, high), shaped (n, 1, 1, 1)."""
    return (low + (high - low) * torch.rand(n, generator=generator))[:, None, None, None]


def augment(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Crop, mirror, recolour and blur.

    Parameters
    ----------
    images : uint8 Tensor of shape (n, 3, SIDE, SIDE)
    generator : torch.Generator

    Returns
    -------
    Tensor of the same shape, normalised
    """
    pixels = _crop(images.float() / 255, generator)
    pixels = _lower_resolution(pixels, generator)
    return normalise(_recolour(pixels, generator).clamp(0, 1))


def _crop(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    n = len(pixels)
    area = uniform(n, 0.35, 1.0, generator).flatten()
    aspect = uniform(n, -0.25, 0.25, generator).flatten().exp()
    width, height = (area * aspect).sqrt().clamp(max=1), (area / aspect).sqrt().clamp(max=1)
    mirror = torch.where(torch.rand(n, generator=generator) < 0.5, -1.0, 1.0)
    theta = torch.zeros(n, 2, 3)
    theta[:, 0, 0], theta[:, 1, 1] = width * mirror, height
    theta[:, 0, 2] = (1 - width) * (2 * torch.rand(n, generator=generator) - 1)
    theta[:, 1, 2] = (1 - height) * (2 * torch.rand(n, generator=generator) - 1)
    grid = F.affine_grid(theta, list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid, align_corners=False, padding_mode="reflection")


def _lower_resolution(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Shrink half of the images to 24 to 48 pixels and enlarge them again."""
    count = int(len(pixels) * _LOW_RESOLUTION)
    side = int(torch.randint(24, 49, (), generator=generator))
    small = F.interpolate(pixels[:count], size=side, mode="area")
    blurred = F.interpolate(small, size=SIDE, mode="bicubic", align_corners=False)
    return torch.cat([blurred, pixels[count:]])


def _recolour(pixels: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    n = len(pixels)
    grey = pixels.mean(dim=1, keepdim=True)
    plain = torch.rand(n, 1, 1, 1, generator=generator) < _GREY
    saturation = torch.where(plain, 0.0, uniform(n, 0.6, 1.4, generator))
    pixels = grey + (pixels - grey) * saturation
    level = pixels.mean(dim=(1, 2, 3), keepdim=True)
    pixels = level + (pixels - level) * uniform(n, 0.6, 1.4, generator)
    return pixels * uniform(n, 0.7, 1.3, generator)
