"""DeFT's tables: which labels each detector keeps, and what a model fine-tuned on them reaches.

Three models, eight label sets, three seeds, the published schedule. Every cell (model, label set,
seed, method, phase) is measured once and kept in the JSON file, so a run that is stopped has a page
of what it measured and continues where it stopped:

    python benchmarks/deft.py --models ../shared/models/mini-vlm-photo ... --jobs 2
"""

from __future__ import annotations

import argparse
import json
import logging
import time
import traceback
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from deft_page import read, write_page

from labelsieve.backbones import FeatureCache, extract_features, load_backbone
from labelsieve.bench.metrics import clean_set_metrics, detection_metrics, reliability
from labelsieve.bench.metrics import expected_calibration_error as calibration_error
from labelsieve.core.exceptions import LabelSieveError
from labelsieve.data import inject_noise, load_images
from labelsieve.detectors import DETECTORS
from labelsieve.tuners import TUNERS
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
FEW_TUNED = ("dual-prompts none", "dual-prompts lora", "dual-prompts vpt-deep")
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
    (ALL, CASES, CHEAP[1:4] + FEW_TUNED + BASELINES[:1]),
    (PHOTO, CASES, BASELINES + PARADIGMS),
    (ALL, CASES, CHEAP[1:] + TUNED + BASELINES + PARADIGMS),
)


class Cell(NamedTuple):
    """One thing to measure.

    Phase 1 detects; phase 2 fine-tunes on what phase 1 kept, or, for a baseline, on all labels;
    phase 0 is a learning rate of full fine-tuning, scored on held-out given labels.
    """

    model: Path
    case: str
    seed: int
    method: str
    phase: int

    @property
    def key(self) -> str:
        """By which it is found in the JSON file."""
        return f"{self.model.name} | {self.case} | {self.seed} | {self.method} | {self.phase}"


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


@cache
def label_set(shared: Path, case: str, seed: int, n_images: int, n_classes: int):
    """A subset of images with noisy labels, and their true labels; the seed decides both."""
    data, (kind, _, rest) = shared / "data", case.partition(" ")
    pick = np.random.default_rng(seed)
    if kind == "cifar10n":
        noisy = load_images(data / "cifar10n_train.parquet", label_column=f"label_{rest}")
        truth = load_images(data / "cifar10n_train.parquet", label_column="label").given_labels
        rows = np.sort(pick.permutation(len(truth))[:n_images])
        return noisy.subset(rows), truth[rows]
    noise, rate = rest.split()
    images = few_classes(load_images(data / "tinyimagenet_train.parquet"), n_classes)
    images = images.subset(np.sort(pick.permutation(len(images))[:n_images]))
    found = inject_noise(
        images.given_labels,
        n_classes,
        kind=noise,
        rate=float(rate),
        random_state=seed,
        images=images,
    )
    return images.with_labels(found.labels), images.given_labels


def few_classes(images, n_classes: int):
    """The images of the first classes only."""
    kept = images.subset(images.given_labels < n_classes)
    return kept.with_labels(kept.given_labels, images.class_names[:n_classes])


@cache
def test_set(shared: Path, kind: str, n_images: int, n_classes: int):
    """The test images of a label set."""
    name = "cifar10_test" if kind == "cifar10n" else "tinyimagenet_test"
    images = few_classes(load_images(shared / "data" / f"{name}.parquet"), n_classes)
    rows = np.random.default_rng(0).permutation(len(images))[:n_images]
    return images.subset(np.sort(rows))


@cache
def backbone_of(model: Path, device: str):
    """A loaded model."""
    return load_backbone(str(model), device=device, dtype="float32")


def make_detector(method: str, backbone, rate: float, args, seed: int):
    """A detector by the name of its row."""
    name, _, variant = method.partition(" ")
    if name == "label-match":
        return DETECTORS.get(name)(backbone)
    if name == "small-loss":
        known = rate if variant == "known rate" else None
        return DETECTORS.get(name)(backbone, noise_rate=known, random_state=seed)
    return DETECTORS.get(name)(
        backbone,
        visual_tuning=variant,
        epochs=args.epochs,
        batch_size=args.batch_size,
        precision=args.precision,
        random_state=seed,
    )


def detect(cell: Cell, args) -> dict[str, Any]:
    """Phase 1: one detector's figures, and which labels it kept (hexadecimal bits)."""
    images, truth = label_set(args.shared, cell.case, cell.seed, args.images, args.classes)
    wrong = images.given_labels != truth
    record: dict[str, Any] = {"noise": float(wrong.mean())}
    if cell.method == "keep everything":
        return record | clean_set_metrics(np.ones(len(truth), dtype=bool), ~wrong)
    backbone = backbone_of(cell.model, args.device)
    features = extract_features(images, backbone, cache=FeatureCache())
    detector = make_detector(cell.method, backbone, float(wrong.mean()), args, cell.seed)
    started = time.process_time()
    detector.fit(features, images)
    record["processor_seconds"] = round(time.process_time() - started, 1)
    kept = ~detector.is_label_issue_
    record |= clean_set_metrics(kept, ~wrong)
    found = detection_metrics(detector.label_score_, ~kept, wrong)
    record["average_precision"] = found["average_precision"]
    record["best_f1"] = best_f1(detector.label_score_, ~wrong)
    record["train_accuracy"] = float((detector.probabilities_.argmax(1) == truth).mean())
    if np.isfinite(detector.p_clean_).all():
        record["calibration_error"] = calibration_error(detector.p_clean_, ~wrong)
    if hasattr(detector, "raw_p_clean_"):
        record["reliability"] = reliability(detector.p_clean_, ~wrong)
        record["raw_calibration_error"] = calibration_error(detector.raw_p_clean_, ~wrong)
        record["raw_reliability"] = reliability(detector.raw_p_clean_, ~wrong)
    return record | {"kept": np.packbits(kept).tobytes().hex()}


def best_f1(score, clean) -> float:
    """F1 of the clean set at the best cut through the scores, which only the truth can name."""
    hits = np.cumsum(clean[np.argsort(-score, kind="stable")])
    return float((2 * hits / (np.arange(1, len(score) + 1) + clean.sum())).max())


def adapt(cell: Cell, args, kept: str | None, lr: float) -> dict[str, Any]:
    """Phase 2: test accuracy of a model trained on the labels that were kept, or on all.

    Full fine-tuning of the vision tower with a linear head at rate `lr`; the paradigms vpt (deep
    prompts, linear head) and vlpt (deep prompts, prompts as the head) at the published one.
    """
    images, truth = label_set(args.shared, cell.case, cell.seed, args.images, args.classes)
    paradigm, _, baseline = cell.method.partition(" ")
    if paradigm not in ("fft", "vpt", "vlpt"):
        paradigm, baseline = "fft", "ce"
    options: dict[str, Any] = {"baseline": baseline}
    if paradigm == "vlpt":
        options = {"loss": baseline, "lr": 0.03, "warmup_epochs": 0}
    if paradigm == "fft":
        options["lr"] = lr
    if baseline == "small-loss":
        options["noise_rate"] = float((images.given_labels != truth).mean())
    labels = images.given_labels
    if kept:
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(kept), dtype=np.uint8))[: len(labels)]
        labels = np.where(bits == 1, labels, -1)
    started = time.process_time()
    tuner = fine_tune(cell, args, paradigm, images.with_labels(labels), **options)
    test = test_set(args.shared, cell.case.split()[0], args.test_images, args.classes)
    accuracy = float((tuner.predict(test) == test.given_labels).mean())
    seconds = round(time.process_time() - started, 1)
    return {"test_accuracy": accuracy, "processor_seconds_adapt": seconds}


def try_rate(cell: Cell, args) -> dict[str, Any]:
    """Phase 0: given labels of a fifth of the rows, predicted after training on the others."""
    images, _ = label_set(args.shared, cell.case, cell.seed, args.images, args.classes)
    # Not the bare seed: that draws which labels are made wrong.
    rows = np.random.default_rng([cell.seed, 1]).permutation(len(images))
    held_out, others = np.split(rows, [len(rows) // 5])
    lr = float(cell.method.split()[-1])
    try:
        tuner = fine_tune(cell, args, "fft", images.subset(others), baseline="ce", lr=lr)
    except LabelSieveError:  # diverged
        return {"held_out_accuracy": 0.0}
    test = images.subset(held_out)
    return {"held_out_accuracy": float((tuner.predict(test) == test.given_labels).mean())}


def fine_tune(cell: Cell, args, paradigm: str, images, **options: Any):
    """A fitted tuner with the schedule of the arguments."""
    return TUNERS.get(paradigm)(
        backbone_of(cell.model, args.device),
        epochs=args.epochs,
        batch_size=args.batch_size,
        precision=args.precision,
        random_state=cell.seed,
        **options,
    ).fit(images)


def start_worker() -> None:
    """A process that measures: one thread, no progress bars."""
    torch.set_num_threads(1)
    torch.set_float32_matmul_precision("high")
    logging.disable(logging.WARNING)


def measure_cell(cell: Cell, args, kept: str | None, lr: float) -> dict[str, Any]:
    """One cell, in a worker."""
    if cell.phase == 1:
        return detect(cell, args)
    return adapt(cell, args, kept, lr) if cell.phase == 2 else try_rate(cell, args)


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
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(json.dumps(self.records, indent=0) + "\n")
        self.written = time.monotonic()


def measure(args) -> None:
    """All phases, then the page."""
    run = Run(args)
    # Phase 2 needs the rate and phase 1; CUDA does not survive a fork.
    with ProcessPoolExecutor(args.jobs, get_context("spawn"), start_worker) as pool:
        run.measure(pool, choosing(args.models))
        run.measure(pool, cells(args.models, args.seeds, DETECTION, 1))
        run.measure(pool, cells(args.models, args.seeds, ADAPTATION, 2))
    write_page(run.records, args.out, about(args, chosen_rate(run.records)))


def about(args, lr: float) -> str:
    """One paragraph on how the figures were made."""
    return (
        f"Command: `python benchmarks/deft.py --images {args.images} --classes {args.classes} "
        f"--epochs {args.epochs} --batch-size {args.batch_size} --precision {args.precision} "
        f"--test-images {args.test_images}` with the models of the tables, on {args.machine}. "
        f"{args.images} random images of a label set, the first {args.classes} classes of "
        f"Tiny-ImageNet, {args.epochs} epochs in both phases in batches of {args.batch_size}, "
        f"{args.precision} (products in TensorFloat-32 where there is a GPU), "
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
    parser.add_argument("--machine", default="CPU", help="what the page says it was measured on")
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/results/deft"))
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
