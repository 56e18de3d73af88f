"""Small problems that the contract suites share."""

from __future__ import annotations

import io
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from PIL import Image

COLOURS = {"red": (220, 30, 30), "green": (30, 200, 40), "blue": (40, 50, 220)}


def write_colour_tree(root: Path, *, per_class: int = 14, seed: int = 0) -> Path:
    """Class folders of noisy plain colours, the last two images of each class put elsewhere."""
    rng = np.random.default_rng(seed)
    names = list(COLOURS)
    for k, name in enumerate(names):
        for i in range(per_class):
            given = names[(k + 1) % 3] if i >= per_class - 2 else name
            (root / given).mkdir(parents=True, exist_ok=True)
            pixels = np.array(COLOURS[name]) + rng.integers(-25, 26, (24, 24, 3))
            image = Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8))
            image.save(root / given / f"{name}-{i:02d}.png")
    return root


def png(colour=(10, 20, 30)) -> bytes:
    """The bytes of one small image."""
    buffer = io.BytesIO()
    Image.new("RGB", (16, 16), colour).save(buffer, format="PNG")
    return buffer.getvalue()


def clustered_features(n: int = 120, n_classes: int = 4, width: int = 32, seed: int = 0):
    """Unit features in clusters, given labels of which a quarter is wrong, and the truth."""
    rng = np.random.default_rng(seed)
    true = np.arange(n) % n_classes
    centres = rng.normal(size=(n_classes, width))
    x = centres[true] + 0.4 * rng.normal(size=(n, width))
    x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
    given = true.copy()
    wrong = rng.choice(n, n // 4, replace=False)
    given[wrong] = (true[wrong] + rng.integers(1, n_classes, len(wrong))) % n_classes
    return x, given, true


@contextmanager
def other_torch_defaults():
    """Torch as a caller may have set it: no gradients, float64, another device."""
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode(), torch.device("meta"):
            yield
    finally:
        torch.set_default_dtype(torch.float32)
