"""Synthetic scan folders and drawn images for the report's tests."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from labelsieve.core.exceptions import UnreadableImageError

HOSTILE = [
    "<script>window.hacked = 1</script>",
    "</script><img src=x onerror='window.hacked = 2'>",
    "{{ 7 * 7 }} {% raw %} \"quoted\" & 'single' \u2028",
    "žluťoučký 猫 🐈 " + "x" * 300,
]


class DrawnImages:
    """Duck-typed `LabeledImages`: one plain colour a row; the rows in `broken` cannot be read."""

    def __init__(self, n_rows: int, *, size: tuple[int, int] = (32, 32), broken: tuple = ()):
        self.n_rows, self.size, self.broken = n_rows, size, broken
        self.asked: list[int] = []

    def __len__(self) -> int:
        return self.n_rows

    def image(self, i: int) -> Image.Image:
        self.asked.append(i)
        if i in self.broken:
            raise UnreadableImageError(f"row {i}")
        return Image.new("RGB", self.size, (i * 37 % 256, i * 91 % 256, 128))

    def location(self, i: int) -> str:
        return f"/photos/{i}.png"


def make_table(n_rows: int, classes: list[str], *, noise: float = 0.2) -> pd.DataFrame:
    """Every fifth label (at noise 0.2) is an issue; the next class is suggested; row 3 broken."""
    rows = np.arange(n_rows)
    given, every = rows % len(classes), round(1 / noise)
    issue = rows % every == 0
    names = np.array(classes, dtype=object)
    score = np.where(issue, 0.3 * rows / n_rows, 0.5 + 0.5 * rows / n_rows)
    table = pd.DataFrame(
        {
            "id": [f"id-{row}" for row in rows],
            "file_name": [f"photos/{row}.png" for row in rows],
            "given_label": names[given],
            "predicted_label": names[(given + issue) % len(classes)],
            "is_label_issue": issue,
            "label_score": score,
            "suggested_label": np.where(issue, names[(given + 1) % len(classes)], None),
            "action": np.where(issue, "relabel", "keep").astype(object),
            "p_clean": score,
            "p_given": score,
            "p_predicted": 1 - score / 2,
            "detector": "test",
            "error": None,
        }
    )
    table.loc[3, ["action", "error"]] = ["unreadable", "cut short"]
    table.loc[3, ["label_score", "p_clean"]] = np.nan
    return table


def write_scan(folder: Path, table: pd.DataFrame, classes: list[str], **summary: object) -> Path:
    """Write the five files of a finished scan."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_parquet(folder / "issues.parquet")
    noise = np.full((len(classes), len(classes)), 0.2 / (len(classes) - 1))
    np.fill_diagonal(noise, 0.8)
    pd.DataFrame(noise, columns=classes, index=classes).to_csv(folder / "noise_matrix.csv")
    contents = {
        "noise_rate": {"estimate": 0.21, "interval": [0.19, 0.234], "confidence": 0.9},
        "expected": {"precision": 0.8, "recall": 0.75},
        "warnings": [],
        **summary,
    }
    run = {
        "command": "labelsieve scan photos -o out",
        "labelsieve": "0.1.0",
        "model": {"id": "mini-glyph", "commit": "abc123"},
        "data": {"source": "somewhere/photos", "rule": "one folder per class"},
        "versions": {"torch": "2.6.0"},
        "config": {"seed": 0},
        "timings": {"features": 61.0},
        "seed": 0,
    }
    for name, value in [("summary", contents), ("classes", classes), ("run", run)]:
        (folder / f"{name}.json").write_text(json.dumps(value), encoding="utf-8")
    return folder


@pytest.fixture
def scan_folder(tmp_path):
    """100 images in 4 classes, 20 label issues, row 3 unreadable."""
    classes = ["cat", "dog", "bird", "fish"]
    return write_scan(tmp_path / "out", make_table(100, classes), classes)


@pytest.fixture
def hostile_folder(tmp_path):
    """Class names, file names, ids and errors that try to be markup."""
    table = make_table(60, HOSTILE)
    table["file_name"] = [HOSTILE[row % 4] + str(row) for row in range(60)]
    table["id"] = [HOSTILE[(row + 1) % 4] + str(row) for row in range(60)]
    table.loc[3, "error"] = HOSTILE[0]
    return write_scan(tmp_path / "hostile", table, HOSTILE, warnings=[HOSTILE[1]])


@pytest.fixture
def big_folder(tmp_path):
    """100,000 images in 100 classes with 20,000 label issues."""
    classes = [f"class {k}" for k in range(100)]
    return write_scan(tmp_path / "big", make_table(100_000, classes), classes)


@pytest.fixture
def drawn_images():
    """The `DrawnImages` class, to make as many as a test needs."""
    return DrawnImages
