"""Image features under augmentation: random resized crops and flips."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor

from ..core.progress import progress
from ..core.random import RandomState, numpy_generator
from ..core.validation import check_number
from ..data.decode import decode
from .base import AbstractBackbone
from .stream import in_order, threads_beside

ASPECTS = (3 / 4, 4 / 3)
TRIES = 10


def augmented_features(
    images: Any,
    backbone: AbstractBackbone,
    n_views: int,
    random_state: RandomState,
    *,
    scale: tuple[float, float] = (0.08, 1.0),
    batch_size: int = 64,
    workers: int | None = None,
    show: bool = True,
) -> npt.NDArray[np.float32]:
    """Features of several views of every image: random resized crops with random flips.

    Parameters
    ----------
    images, backbone, batch_size, workers, show
        As in `extract_features`; nothing is cached. A batch holds whole images, so about
        `batch_size` views.
    n_views : int
        Views V per image; with 1 it is the plain view, without crop and flip.
    random_state : int or Generator
        Decides the crops; the views of an image depend on its row, not on the batching.
    scale : tuple of float
        Smallest and largest share of the image's area in a crop (CoOp trains with 0.08 and 1).

    Returns
    -------
    ndarray
        Shape (N, V, D), float32; zeros for unreadable images.

    Raises
    ------
    InputError
        If `n_views` is not at least 1, or a share is not in 0..1.
    """
    check_number(n_views, name="n_views", low=1, integer=True)
    check_number(scale[1], name="scale[1]", low=0, high=1)
    check_number(scale[0], name="scale[0]", low=0, high=scale[1])
    seed = int(numpy_generator(random_state).integers(2**63 - 1))

    def prepare(row: int) -> Tensor | None:
        generator = np.random.default_rng([seed, row])
        try:
            image = decode(images.read_bytes(row))
            if n_views == 1:
                return backbone.preprocess([image])
            size = backbone.image_size
            views = [random_view(image, size, generator, scale) for _ in range(n_views)]
            return backbone.preprocess(views)
        except Exception:  # `extract_features` reports the reason; here the row stays zero
            return None

    out = np.zeros((len(images), n_views, backbone.embed_dim), dtype=np.float32)
    group = max(1, batch_size // n_views)
    workers = threads_beside(backbone.device) if workers is None else workers
    tasks = in_order(prepare, range(len(images)), workers, ahead=2 * group)
    bar = progress(tasks, total=len(images), desc="views", unit="img") if show else tasks
    ready: list[tuple[int, Tensor]] = []
    with closing(tasks):
        for row, pixels in enumerate(bar):
            if pixels is not None:
                ready.append((row, pixels))
            if len(ready) == group or (ready and row == len(images) - 1):
                _encode(ready, backbone, out)
                ready = []
    return out


def _encode(ready: list[tuple[int, Tensor]], backbone: AbstractBackbone, out: Any) -> None:
    pixels = torch.cat([views for _, views in ready])
    with torch.inference_mode():
        encoded = backbone.encode_images(pixels).cpu().numpy()
    out[[row for row, _ in ready]] = encoded.reshape(len(ready), out.shape[1], out.shape[2])


def random_view(
    image: Image.Image, size: int, generator: np.random.Generator, scale: tuple[float, float]
) -> Image.Image:
    """One random resized crop of `size` x `size`, flipped left to right half of the time.

    The crop covers a uniform share of the area in `scale`, with a log-uniform aspect ratio in
    3/4..4/3; if ten draws do not fit into the image it is the largest centred crop whose aspect
    ratio is allowed.
    """
    box = random_box(image.width, image.height, generator, scale)
    view = image.resize((size, size), Image.Resampling.BICUBIC, box=box)
    if generator.random() < 0.5:
        view = view.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return view


def random_box(
    width: int, height: int, generator: np.random.Generator, scale: tuple[float, float]
) -> tuple[int, int, int, int]:
    """Left, upper, right and lower edge of a random crop, see `random_view`."""
    for _ in range(TRIES):
        area = width * height * generator.uniform(*scale)
        aspect = np.exp(generator.uniform(*np.log(ASPECTS)))
        w, h = round(float(np.sqrt(area * aspect))), round(float(np.sqrt(area / aspect)))
        if 0 < w <= width and 0 < h <= height:
            left = int(generator.integers(width - w + 1))
            upper = int(generator.integers(height - h + 1))
            return left, upper, left + w, upper + h
    w = min(width, max(1, round(height * ASPECTS[1])))
    h = min(height, max(1, round(width / ASPECTS[0])))
    left, upper = (width - w) // 2, (height - h) // 2
    return left, upper, left + w, upper + h
