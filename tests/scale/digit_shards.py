"""Tar shards and class trees of real digits, with some wrong labels, and the command line."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from sklearn.datasets import load_digits

NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def digits(n: int, noise: float = 0.2, seed: int = 0) -> list[tuple[str, str, bytes]]:
    """Key, given label and PNG of `n` rows; images repeat after 1,797."""
    data, generator = load_digits(), np.random.default_rng(seed)
    pngs = [_png(image) for image in data.images[:n]]
    rows = []
    for row in range(n):
        image = row % len(pngs)
        shift = generator.integers(1, 10) if generator.random() < noise else 0
        label = NAMES[(data.target[image] + shift) % 10]
        rows.append((f"{row:07d}", label, pngs[image]))
    return rows


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    grey = Image.fromarray((255 - image * 255 / 16).astype(np.uint8)).resize((16, 16))
    grey.save(buffer, "PNG")
    return buffer.getvalue()


def write_shards(folder: Path, rows: list[tuple[str, str, bytes]], per_shard: int) -> list[Path]:
    """WebDataset shards of the rows."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, start in enumerate(range(0, len(rows), per_shard)):
        paths.append(folder / f"digits-{number:04d}.tar")
        members = []
        for key, label, png in rows[start : start + per_shard]:
            members += [(f"{key}.png", png), (f"{key}.cls", label.encode())]
        write_tar(paths[-1], members)
    return paths


def write_tar(path: Path, members: list[tuple[str, bytes]]) -> None:
    """A tar file of named contents."""
    with tarfile.open(path, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def write_tree(folder: Path, rows: list[tuple[str, str, bytes]]) -> Path:
    """One folder a class."""
    for key, label, png in rows:
        (folder / label).mkdir(parents=True, exist_ok=True)
        (folder / label / f"{key}.png").write_bytes(png)
    return folder


def scan_command(data: Path | str, out: Path, *flags: str) -> list[str]:
    """The command line of a scan with the shipped model."""
    verb = [sys.executable, "-m", "labelsieve", "scan", str(data), "-o", str(out)]
    return [*verb, "--model", "mini-glyph", "--offline", *flags]


def run(command: list[str], code: int = 0, timeout: float = 240) -> str:
    """Run a command; returns what it printed, and demands its exit code."""
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env=os.environ, check=False
    )
    text = done.stdout + done.stderr
    assert done.returncode == code, text[-3000:]
    return text


def issues(out: Path) -> pd.DataFrame:
    """The issues of a scan by id."""
    return pd.read_parquet(out / "issues.parquet").sort_values("id").reset_index(drop=True)


def block_bytes(out: Path) -> dict[str, bytes]:
    """The committed blocks of features."""
    return {path.name: path.read_bytes() for path in sorted((out / "features").glob("*.parquet"))}
