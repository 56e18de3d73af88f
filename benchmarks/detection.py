"""Detectors at size: seconds and peak memory for 10^4, 10^5 and 10^6 rows of 512 features.

Features are drawn around 1,000 class centres, 20% of the labels are flipped; the class names say
nothing, so only methods that learn from the labels can find them. Every figure comes from a process
of its own; its peak counts everything, the features and mapped files included. Processor seconds
are those of all threads: on a busy machine they say more than the clock.
latent-label makes one of its four repeats, of the cheaper kind, and fits at most 20,000 rows of
1,000 classes. small-loss warms up on 16 images a class, dual-prompts trains one epoch in batches of
4,096, both through a small text tower, since the step's cost is the matter of `prompt_step.py`. The
last entry is cleanlab's filter on the same probabilities.

    python benchmarks/detection.py [--rows 10000 100000 1000000] [--quick]
"""

from __future__ import annotations

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from timing import entry, interleaved, peak_mib, save

WIDTH, CLASSES, FLIPPED, SPREAD = 512, 1000, 0.2, 1.0
DETECTORS: dict[str, dict[str, Any]] = {
    "latent-label": {"n_repeats": 1},
    "label-match": {},
    "knn": {},
    "confident-learning": {},
    "small-loss": {"shots": 16, "epochs": 5},
    "dual-prompts": {"epochs": 1, "batch_size": 4096},
}
SIZES = {"latent-label": (2_000, 10_000, 1_000_000)}
"""At 10^5 rows it makes the fit of 10^6, to the same number of rows, and judges fewer."""
RECALL_ROWS = 100_000
"""Up to here the neighbours are found a second time, to compare them with all pairs."""


def draw(n_rows: int, folder: Path) -> None:
    """Write features, given and true labels to a folder."""
    rng = np.random.default_rng(0)
    centres = rng.standard_normal((CLASSES, WIDTH), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    true = rng.integers(CLASSES, size=n_rows)
    x = np.lib.format.open_memmap(folder / "x.npy", "w+", np.float32, (n_rows, WIDTH))
    for start in range(0, n_rows, 50_000):
        rows = slice(start, start + 50_000)
        noise = rng.standard_normal(x[rows].shape, dtype=np.float32) * (SPREAD / math.sqrt(WIDTH))
        part = centres[true[rows]] + noise
        x[rows] = part / np.linalg.norm(part, axis=1, keepdims=True)
    x.flush()
    given = true.copy()
    flipped = rng.random(n_rows) < FLIPPED
    given[flipped] = (true[flipped] + rng.integers(1, CLASSES, flipped.sum())) % CLASSES
    np.save(folder / "given.npy", given)
    np.save(folder / "true.npy", true)


def measure(name: str, folder: Path) -> dict[str, Any]:
    """Time and peak memory of one detector in this process."""
    from prompt_step import build_backbone, random_names
    from sklearn.metrics import roc_auc_score

    from labelsieve.backbones import ImageFeatures
    from labelsieve.detectors.registry import DETECTORS as REGISTRY

    x, given, true = (np.load(folder / f"{part}.npy") for part in ("x", "given", "true"))
    text = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2}
    backbone = build_backbone(32, layers=1, **text, num_attention_heads=2)
    detector = REGISTRY.get(name)(backbone, class_names=random_names(CLASSES), **DETECTORS[name])
    started, processor = time.perf_counter(), time.process_time()
    detector.fit(ImageFeatures(x), given)
    record: dict[str, Any] = {
        "seconds": time.perf_counter() - started,
        "processor_seconds": time.process_time() - processor,
        "peak_mib": peak_mib(),
    }
    record["auroc"] = float(roc_auc_score(given == true, detector.label_score_))
    if name == "knn" and len(x) <= RECALL_ROWS:
        record["recall"] = neighbour_recall(x)
    return record


def neighbour_recall(x: np.ndarray, n_queries: int = 200, k: int = 10) -> float:
    """Share of the true nearest neighbours of some rows that were found."""
    import torch

    from labelsieve.selection.neighbours import nearest_neighbours

    found, _ = nearest_neighbours(x, k)
    rows = np.linspace(0, len(x) - 1, n_queries).astype(int)
    cosine = torch.as_tensor(x[rows]) @ torch.as_tensor(x).T
    cosine[torch.arange(n_queries), torch.as_tensor(rows)] = -torch.inf
    wanted = cosine.topk(k, dim=1).indices.numpy()
    shares = [len(set(a) & set(b)) / k for a, b in zip(found[rows], wanted, strict=True)]
    return float(np.mean(shares))


def children(n_rows: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and record of all detectors on the same rows, each in a fresh process."""
    with tempfile.TemporaryDirectory() as folder:
        draw(n_rows, Path(folder))
        for name in DETECTORS:
            if n_rows not in SIZES.get(name, (n_rows,)):
                continue
            command = [sys.executable, __file__, "--only", name, "--folder", folder]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:  # said, and missing in the table
                print(f"{name} with {n_rows:,} rows failed:\n{done.stderr[-2000:]}")
                continue
            record = json.loads(done.stdout.splitlines()[-1])
            text = f"{name:<20}{n_rows:>10,}{record['seconds']:>9.1f} s{record['peak_mib']:>8.0f}"
            print(text, flush=True)
            yield name, record


def against_cleanlab(n_rows: int, n_classes: int = 100) -> dict[str, Any]:
    """Our pruning and cleanlab's on the same probabilities."""
    from cleanlab.filter import find_label_issues

    from labelsieve.selection.confident_learning import prune_by_noise_rate

    rng = np.random.default_rng(0)
    true = rng.integers(n_classes, size=n_rows)
    logits = rng.normal(size=(n_rows, n_classes))
    logits[np.arange(n_rows), true] += 4.0
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    flipped = rng.random(n_rows) < FLIPPED
    given = np.where(flipped, (true + rng.integers(1, n_classes, n_rows)) % n_classes, true)

    def theirs() -> np.ndarray:
        return find_label_issues(given, p, filter_by="prune_by_noise_rate", n_jobs=1)

    a, b = prune_by_noise_rate(p, given), theirs()
    times = interleaved(
        {"ours": (lambda: prune_by_noise_rate(p, given), 1), "cleanlab": (theirs, 1)}, 3
    )
    overlap = float((a & b).sum() / (a | b).sum())
    return entry(times["cleanlab"], times["ours"], rows=n_rows, classes=n_classes, overlap=overlap)


def main() -> None:
    """Run and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", choices=DETECTORS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        print(json.dumps(measure(arguments.only, arguments.folder)))
        return
    sizes = [2_000] if arguments.quick else sorted(arguments.rows)
    n_filter = 2_000 if arguments.quick else 100_000
    save({"detection_filter_against_cleanlab": against_cleanlab(n_filter)}, quick=arguments.quick)
    found: dict[int, dict[str, Any]] = {}
    for n in sizes:
        found[n] = {}
        for name, record in children(n):  # what is measured is kept, even if no more is
            found[n][name] = record
            save(entries(found), quick=arguments.quick)


def entries(found: dict[int, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """One entry a detector: its records by rows, and the exponents of growth between them."""
    results = {}
    for name in DETECTORS:
        records = {n: found[n][name] for n in found if name in found[n]}
        slopes = [
            math.log(records[b]["seconds"] / records[a]["seconds"]) / math.log(b / a)
            for a, b in zip(list(records), list(records)[1:], strict=False)
        ]
        last = records[max(records)]["seconds"] if records else None
        results[f"detection_{name}"] = {"seconds_fast": last, "by_rows": records, "slopes": slopes}
    return results


if __name__ == "__main__":
    main()
