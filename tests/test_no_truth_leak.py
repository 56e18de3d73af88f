"""True labels exist only in bench: poison them, and every method's output stays the same."""

import ast
from pathlib import Path

import numpy as np
import pandas as pd

import labelsieve
from labelsieve.data import load_images, write_noisy
from labelsieve.sieve import LabelSieve
from problems import write_colour_tree

SOURCE = Path(labelsieve.__file__).parent


def test_poisoned_truth_changes_nothing(tmp_path, tiny_backbone):
    images = load_images(write_colour_tree(tmp_path / "photos"))
    write_noisy(images, tmp_path / "noisy", kind="symmetric", rate=0.3, random_state=0)
    before = LabelSieve(tiny_backbone).fit(tmp_path / "noisy")
    path = tmp_path / "noisy" / "metadata.parquet"
    table = pd.read_parquet(path)
    table["label_before_noise"] = np.roll(table["label_before_noise"], 5)
    table.to_parquet(path, index=False)
    after = LabelSieve(tiny_backbone).fit(tmp_path / "noisy")
    pd.testing.assert_frame_equal(after.issues_.table, before.issues_.table)


def test_only_bench_reads_the_column_of_true_labels():
    for path in SOURCE.rglob("*.py"):
        inside = path.relative_to(SOURCE).parts[0]
        strings = [
            node.value
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        if inside != "bench" and path.name not in ("write.py", "noise.py"):
            assert "label_before_noise" not in strings, path
