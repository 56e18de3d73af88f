"""The pre-training images: Tiny-ImageNet as one tensor."""

import io
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import torch
from PIL import Image

from .augment import SIDE

TRAIN_FILE = "tinyimagenet_pretrain.parquet"
SYNONYMS_FILE = "tinyimagenet_synonyms.json"


@dataclass(frozen=True)
class Photos:
    """Decoded images.

    Attributes
    ----------
    pixels : uint8 Tensor of shape (n, 3, SIDE, SIDE)
    labels : Tensor of int64, shape (n,)
    names : list of str, length K
    synonyms : dict of str to str
    """

    pixels: torch.Tensor
    labels: torch.Tensor
    names: list[str]
    synonyms: dict[str, str]


def decode(image: dict) -> np.ndarray:
    """Return one image of shape (3, SIDE, SIDE), uint8."""
    picture = Image.open(io.BytesIO(image["bytes"])).convert("RGB")
    if picture.size != (SIDE, SIDE):
        picture = picture.resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(picture).transpose(2, 0, 1)


def class_names(path: Path) -> list[str]:
    """Return the class names that a Hugging Face parquet file keeps in its schema."""
    features = json.loads(pq.read_schema(path).metadata[b"huggingface"])["info"]["features"]
    return features["label"]["names"]


def read_photos(folder: Path, limit: int | None = None) -> Photos:
    """Read the pre-training file, or a seeded draw of `limit` rows of it."""
    table = pq.read_table(folder / TRAIN_FILE, columns=["image", "label"])
    if limit is not None:
        table = table.take(np.random.default_rng(0).permutation(len(table))[:limit])
    pixels = torch.empty(len(table), 3, SIDE, SIDE, dtype=torch.uint8)
    for row, image in enumerate(table["image"]):
        pixels[row] = torch.from_numpy(decode(image.as_py()).copy())
    return Photos(
        pixels,
        torch.tensor(table["label"].to_pylist()),
        class_names(folder / TRAIN_FILE),
        json.loads((folder / SYNONYMS_FILE).read_text()),
    )
