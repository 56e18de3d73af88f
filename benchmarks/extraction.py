"""Image features: JPEG files to features, ours against a plain transformers loop.

Generated photographs (500 x 375, the spectrum of natural images) and the shape of CLIP ViT-B/32
with random weights. The plain loop is what the model's documentation suggests: a data set that
calls the image processor, a DataLoader with two worker processes, the model under `no_grad`. The
ratio at peak is the one that would be reached if nothing but the encoder's products took time.

    python benchmarks/extraction.py [--images 192] [--threads 2] [--quick]
"""

from __future__ import annotations

import argparse
import io
import statistics
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from timing import entry, interleaved, peaks, products, save, seconds
from torch.nn.functional import normalize
from torch.utils.data import DataLoader, Dataset

WIDTH, LAYERS, TOKENS, PATCH = 768, 12, 50, 32
BATCH, WORKERS = 64, 2


def photos(n: int, size: tuple[int, int] = (375, 500)) -> list[bytes]:
    """JPEG files of pictures whose amplitude falls with frequency."""
    height, width = size
    draw = np.random.default_rng(0)
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    falling = 1 / np.maximum(frequency, 1 / width)
    files = []
    for _ in range(n):
        noise = np.fft.rfft2(draw.normal(size=(3, height, width)), axes=(1, 2))
        picture = np.fft.irfft2(noise * falling, s=size, axes=(1, 2))
        picture = (picture - picture.mean()) / picture.std() * 50 + 128
        buffer = io.BytesIO()
        pixels = picture.clip(0, 255).astype(np.uint8).transpose(1, 2, 0)
        Image.fromarray(pixels).save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    return files


class Memory:
    """Files in memory, as extraction wants them."""

    def __init__(self, files: list[bytes]):
        self.files = files

    def __len__(self) -> int:
        return len(self.files)

    def read_bytes(self, row: int) -> bytes:
        """The bytes of one file."""
        return self.files[row]


class OnDisk(Memory):
    """Files in a folder."""

    def __init__(self, paths: list[Path]):
        self.files = paths

    def read_bytes(self, row: int) -> bytes:
        """The bytes of one file."""
        return self.files[row].read_bytes()


class Plain(Dataset):
    """What a DataLoader reads: a file through the image processor."""

    def __init__(self, paths: list[Path], processor: Any):
        self.paths, self.processor = paths, processor

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, row: int) -> torch.Tensor:
        image = Image.open(self.paths[row]).convert("RGB")
        return self.processor(images=image, return_tensors="pt")["pixel_values"][0]


def plain_loop(paths: list[Path], backbone: Any, workers: int = WORKERS) -> torch.Tensor:
    """Features by the plain loop, in the precision of the encoder."""
    loader = DataLoader(Plain(paths, backbone.processor), BATCH, num_workers=workers)
    encode, device = backbone.model.get_image_features, backbone.device
    with torch.no_grad():
        found = [encode(pixel_values=x.to(device)).pooler_output for x in loader]
    return normalize(torch.cat(found).float(), dim=1)


def flop_per_image() -> float:
    """Of ViT-B/32: the patches, the linear layers, attention, the projection."""
    layer = 24 * TOKENS * WIDTH**2 + 4 * TOKENS**2 * WIDTH
    return LAYERS * layer + 2 * (TOKENS - 1) * 3 * PATCH**2 * WIDTH + 2 * WIDTH * 512


def run(n_images: int, rounds: int) -> dict[str, dict[str, Any]]:
    """Both loops over the same files."""
    from prompt_step import build_backbone

    from labelsieve.backbones import extract_features

    exact, half = build_backbone(PATCH), build_backbone(PATCH)
    half.model.vision_model.bfloat16(), half.model.visual_projection.bfloat16()
    half.dtype = torch.bfloat16
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.jpg" for i in range(n_images)]
        for path, data in zip(paths, photos(n_images), strict=True):
            path.write_bytes(data)
        images = OnDisk(paths)
        wanted = plain_loop(paths, exact)
        found = [
            torch.as_tensor(extract_features(images, b, show=False).features) for b in (exact, half)
        ]
        torch.testing.assert_close(found[0], wanted, atol=1e-5, rtol=0)
        times: dict[str, list[float]] = {"plain": [], "float32": [], "bfloat16": []}
        peak_times = interleaved(products(), rounds)
        for _ in range(rounds):
            times["plain"].append(seconds(lambda: plain_loop(paths, exact)))
            for name, backbone in (("float32", exact), ("bfloat16", half)):
                times[name].append(
                    seconds(lambda b=backbone: extract_features(images, b, show=False))
                )
    peak, flop = peaks(peak_times), n_images * flop_per_image()
    results = {}
    for kind, features in zip(("float32", "bfloat16"), found, strict=True):
        middle = statistics.median(times[kind])
        results[f"extraction_vit-b-32_{kind}"] = entry(
            times["plain"],
            times[kind],
            share_of_peak=flop / middle / peak[kind],
            ratio_at_peak=statistics.median(times["plain"]) / (flop / peak[kind]),
            images_per_second=n_images / middle,
            images_per_second_plain=n_images / statistics.median(times["plain"]),
            least_cosine=float((features * wanted).sum(dim=1).min()),
            images=n_images,
        )
    return results


def main() -> None:
    """Run and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--images", type=int, default=192)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--quick", action="store_true")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.quick:
        save(run(32, 1), quick=True)
        return
    save(run(arguments.images, arguments.rounds))


if __name__ == "__main__":
    main()
