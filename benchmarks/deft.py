"""DeFT's tables: which labels each detector keeps, and what a model fine-tuned on them reaches.

Three models, eight label sets, three seeds, the published schedule. Every cell (model, label set,
seed, method, phase) is measured once and kept in the JSON file, so a run that is stopped has a page
of what it measured and continues where it stopped:

    python benchmarks/deft.py --models ../shared/models/mini-vlm-photo ... --jobs 2
"""

from __future__ import annotations

import argparse
import logging
import time
import traceback
from collections import Counter
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from deft_cells import Cell, measure_cell
from deft_page import read, write, write_page

from labelsieve.visual_tuning import VISUAL_TUNINGS

HUMAN = ("worse", "random1", "aggre")
SYNTHETIC = (
    ("symmetric", 0.2),
    ("symmetric", 0.4),
    ("symmetric", 0.6),
    ("instance-dependent", 0.2),
    ("instance-dependent", 0.4),
)
CASES = tuple(f"cifar10n {name}" for name in HUMAN)
CASES += tuple(f"tiny-imagenet {kind} {rate}" for kind, rate in SYNTHETIC)
FIRST_CASES = ("cifar10n worse", "tiny-imagenet symmetric 0.4")
CLEAN_CASES = ("cifar10n clean", "tiny-imagenet clean")
CHEAP = (
    "keep everything",
    "label-match",
    "small-loss mixture",
    "small-loss known rate",
    "dual-prompts none",
)
TUNED = tuple(
    f"dual-prompts {name}" for name in VISUAL_TUNINGS.names() if name not in ("none", "full")
)
BASELINES = tuple(f"fft {name}" for name in ("ce", "sce", "elr", "gmm", "small-loss"))
PARADIGMS = ("vpt ce", "vpt sce", "vpt elr", "vlpt ce", "vlpt sce")
RATES = (0.0005, 0.002, 0.008, 0.032)
CHOOSING_SEED = 100

# What is measured in which order: (models, label sets, methods), each for all seeds.
PHOTO, ALL = slice(0, 2), slice(None)
Line = tuple[slice, tuple[str, ...], tuple[str, ...]]
DETECTION: tuple[Line, ...] = ((ALL, FIRST_CASES, CHEAP + TUNED), (ALL, CASES, CHEAP + TUNED))
ADAPTATION: tuple[Line, ...] = (
    (ALL, FIRST_CASES, CHEAP[1:] + TUNED + BASELINES + PARADIGMS),
    (ALL, CLEAN_CASES, ("fft ce", "vpt ce", "vlpt ce")),
    (ALL, CASES, CHEAP[1:] + BASELINES[:1]),
    (ALL, CASES, TUNED),
    (PHOTO, CASES, BASELINES + PARADIGMS),
    (ALL, CASES, CHEAP[1:] + TUNED + BASELINES + PARADIGMS),
)


def cells(models: list[Path], n_seeds: int, lines: Iterable[Line], phase: int) -> Iterator[Cell]:
    """The cells of some lines, the first seed of a line before the second."""
    for which, cases, methods in lines:
        for seed in range(n_seeds):
            for case in cases:
                for model in models[which]:
                    yield from (Cell(model, case, seed, method, phase) for method in methods)


def choosing(models: list[Path]) -> Iterator[Cell]:
    """The cells by which the learning rate of full fine-tuning is chosen."""
    for model in models:
        for case in FIRST_CASES:
            yield from (Cell(model, case, CHOOSING_SEED, f"fft lr {lr}", 0) for lr in RATES)


def chosen_rate(records: dict[str, Any]) -> float:
    """The rate with the best mean over models and label sets; of equally good ones the smaller."""
    scores: dict[float, list[float]] = {lr: [] for lr in RATES}
    for key, record in records.items():
        if "held_out_accuracy" in record:
            scores[float(key.split(" | ")[3].split()[-1])].append(record["held_out_accuracy"])
    return max(RATES, key=lambda lr: float(np.mean(scores[lr] or [0.0])))


def start_worker() -> None:
    """A process that measures: one thread, no progress bars."""
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("high")
    logging.disable(logging.WARNING)


class Run:
    """The records, and the processes that measure what is missing."""

    def __init__(self, args):
        self.args, self.path = args, args.out.with_suffix(".json")
        self.records = read(self.path)
        self.ends = time.monotonic() + args.hours * 3600
        self.written = time.monotonic()

    def measure(self, pool: ProcessPoolExecutor, wanted: Iterable[Cell]) -> None:
        """Measure cells until the time is up; one that fails is told and left out."""
        running: dict[Future, Cell] = {}
        lr, seen = chosen_rate(self.records), set(self.records)
        for cell in wanted:
            if time.monotonic() > self.ends:
                break
            if cell.key in seen:
                continue
            seen.add(cell.key)
            first = self.records.get(cell._replace(phase=1).key, {})
            running[pool.submit(measure_cell, cell, self.args, first.get("kept"), lr)] = cell
            while len(running) > 2 * self.args.jobs:
                self._collect(running)
        while running:
            self._collect(running)
        self.save()

    def _collect(self, running: dict[Future, Cell]) -> None:
        for done in wait(running, return_when=FIRST_COMPLETED).done:
            cell = running.pop(done)
            try:
                record = self.records[cell.key] = done.result()
            except Exception:
                print("FAILED", cell.key, traceback.format_exc(), flush=True)
                continue
            shown = {k: round(v, 3) for k, v in record.items() if isinstance(v, float)}
            print(time.strftime("%H:%M:%S"), cell.key, shown, flush=True)
        if time.monotonic() - self.written > 20:
            self.save()

    def save(self) -> None:
        """Write what is measured."""
        write(self.records, self.path)
        self.written = time.monotonic()


def measure(args) -> None:
    """All phases, then the page."""
    run = Run(args)
    choice = list(choosing(args.models))
    detection = list(cells(args.models, args.seeds, DETECTION, 1))
    adaptation = list(cells(args.models, args.seeds, ADAPTATION, 2))
    # Phase 2 needs the rate and phase 1; CUDA does not survive a fork.
    with ProcessPoolExecutor(args.jobs, get_context("spawn"), start_worker) as pool:
        for wanted in (choice, detection, adaptation):
            run.measure(pool, wanted)
    shown = dict.fromkeys(cell.key for cell in detection + adaptation)
    shown = {key: run.records[key] for key in shown if key in run.records}
    write_page(shown, args.out, about(args, run.records))


def about(args, records: dict[str, Any]) -> str:
    """One paragraph on how the figures were made."""
    lr = chosen_rate(records)
    kinds = Counter((record["device"], record["arithmetic"]) for record in records.values())
    places = {"cuda": f"{args.gpu} (products in TensorFloat-32)", "cpu": "a CPU"}
    shares = "; ".join(
        f"{n} of {len(records)} cells in {arithmetic} on {places.get(device, device)}"
        for (device, arithmetic), n in kinds.most_common()
    )
    return (
        f"Command: `python benchmarks/deft.py --images {args.images} --classes {args.classes} "
        f"--epochs {args.epochs} --batch-size {args.batch_size} "
        f"--test-images {args.test_images}` with the models of the tables. {shares}. "
        f"{args.images} random images of a label set, the first {args.classes} classes of "
        f"Tiny-ImageNet, {args.epochs} epochs in both phases in batches of {args.batch_size}, "
        f"{args.test_images} test images (500 of Tiny-ImageNet). "
        "Learning rates are the published ones, but for full fine-tuning: of "
        f"{', '.join(map(str, RATES))} the best by mean accuracy on held-out given labels over the "
        f"models and two label sets, in a draw that is not measured: {lr}. Mean ± standard "
        "deviation (n - 1) over three seeds, or over n; a seed decides the subset, the injected "
        "noise and the training. The known rate of small-loss is the true one; nothing else was "
        "told the truth."
    )


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    shared = Path("../shared")
    parser.add_argument("--shared", type=Path, default=shared)
    models = [shared / "models" / name for name in ("mini-vlm-photo", "mini-vlm-tin")]
    parser.add_argument("--models", nargs="+", type=Path, default=models)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--test-images", type=int, default=2000)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--precision", default="float32")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--jobs", type=int, default=1, help="processes, each with one thread")
    parser.add_argument("--hours", type=float, default=1000, help="no new cell after these")
    parser.add_argument("--gpu", default="a GPU", help="its name, for the page")
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/results/deft"))
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
