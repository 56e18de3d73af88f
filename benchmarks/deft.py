"""DeFT's tables: which labels each detector keeps, and what a model fine-tuned on them reaches.

Three models, eight label sets, three seeds. Every cell (model, label set, seed, method, phase) is
measured once and kept in the JSON file, the most telling ones first, so a run that is stopped has
a page of what it measured and continues where it stopped:

    python benchmarks/deft.py --models ../shared/models/mini-vlm-photo ... --hours 1
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from deft_page import read, write_page

from labelsieve.backbones import FeatureCache, extract_features, load_backbone
from labelsieve.bench.metrics import clean_set_metrics, detection_metrics, reliability
from labelsieve.bench.metrics import expected_calibration_error as calibration_error
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
FEW_TUNED = ("dual-prompts lora", "dual-prompts vpt-deep")
BASELINES = tuple(f"fft {name}" for name in ("ce", "sce", "elr", "gmm", "small-loss"))
PARADIGMS = ("vpt ce", "vpt sce", "vpt elr", "vlpt ce", "vlpt sce")
ADAPTED = ("label-match", "small-loss mixture", "dual-prompts none", *FEW_TUNED)

# The order: (models, label sets, methods, seeds, phase 2 too). Later lines fill what is left.
PHOTO, OTHERS, ALL, ONE = slice(0, 1), slice(1, None), slice(None), slice(0, 1)
PLAN: tuple[tuple[slice, tuple[str, ...], tuple[str, ...], slice, bool], ...] = (
    (PHOTO, FIRST_CASES, CHEAP, ALL, False),
    (PHOTO, FIRST_CASES, TUNED, ONE, False),
    (ALL, CASES, CHEAP, ALL, False),
    (PHOTO, FIRST_CASES, ADAPTED, ONE, True),
    (PHOTO, FIRST_CASES, TUNED, ALL, False),
    (PHOTO, FIRST_CASES, BASELINES[:3] + PARADIGMS[::3], ONE, False),
    (PHOTO, FIRST_CASES, ADAPTED, ALL, True),
    (PHOTO, CASES, FEW_TUNED, ALL, False),
    (OTHERS, FIRST_CASES, FEW_TUNED, ALL, False),
    (PHOTO, FIRST_CASES, CHEAP + TUNED, ALL, True),
    (PHOTO, FIRST_CASES, BASELINES + PARADIGMS, ALL, False),
    (OTHERS, FIRST_CASES, TUNED, ALL, False),
    (ALL, CASES, CHEAP + FEW_TUNED, ALL, True),
    (ALL, CASES, CHEAP + TUNED, ALL, True),
    (ALL, CASES, BASELINES + PARADIGMS, ALL, False),
)


class Cell(NamedTuple):
    """One thing to measure: phase 1, phase 2 on what it kept, or a baseline on all labels."""

    model: Path
    case: str
    seed: int
    method: str
    phase: int

    @property
    def key(self) -> str:
        """By which it is found in the JSON file."""
        return f"{self.model.name} | {self.case} | {self.seed} | {self.method} | {self.phase}"


def cells(models: list[Path], n_seeds: int) -> Iterator[Cell]:
    """All cells in the order of `PLAN`, each once; the first seed of a line before the second."""
    seen = set()
    for which, cases, methods, seeds, adapt in PLAN:
        for seed in range(n_seeds)[seeds]:
            for case in cases:
                for method in methods:
                    on_pixels = method.split()[0] in ("fft", "vpt", "vlpt")
                    phases = (2,) if on_pixels else (1, 2) if adapt else (1,)
                    for model in models[which]:
                        for phase in phases:
                            cell = Cell(model, case, seed, method, phase)
                            if cell not in seen:
                                yield cell
                            seen.add(cell)


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
    return load_backbone(str(model), device=device)


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


def adapt(cell: Cell, args, kept: str | None) -> dict[str, Any]:
    """Phase 2: test accuracy of a model trained on the labels that were kept, or on all.

    Full fine-tuning of the vision tower with a linear head; the paradigms vpt (deep prompts, linear
    head) and vlpt (deep prompts, prompts as the head) likewise, each at its own learning rate.
    """
    images, truth = label_set(args.shared, cell.case, cell.seed, args.images, args.classes)
    paradigm, _, baseline = cell.method.partition(" ")
    if paradigm not in ("fft", "vpt", "vlpt"):
        paradigm, baseline = "fft", "ce"
    options: dict[str, Any] = {"baseline": baseline, "precision": args.precision}
    if paradigm == "vlpt":  # the rate of phase 1; the tuner has no mixed precision
        options = {"loss": baseline, "lr": 0.03, "warmup_epochs": 0}
    if paradigm == "fft":
        options["lr"] = args.adapt_lr
    if baseline == "small-loss":
        options["noise_rate"] = float((images.given_labels != truth).mean())
    labels = images.given_labels
    if kept:
        bits = np.unpackbits(np.frombuffer(bytes.fromhex(kept), dtype=np.uint8))[: len(labels)]
        labels = np.where(bits == 1, labels, -1)
    started = time.process_time()
    tuner = TUNERS.get(paradigm)(
        backbone_of(cell.model, args.device),
        epochs=args.epochs,
        batch_size=args.batch_size,
        random_state=cell.seed,
        **options,
    ).fit(images.with_labels(labels))
    test = test_set(args.shared, cell.case.split()[0], args.test_images, args.classes)
    accuracy = float((tuner.predict(test) == test.given_labels).mean())
    seconds = round(time.process_time() - started, 1)
    return {"test_accuracy": accuracy, "processor_seconds_adapt": seconds}


def measure(args) -> None:
    """Run the cells that are missing, until the time is up; renew the page now and then."""
    path = args.out.with_suffix(".json")
    records = read(path)
    started = written = time.monotonic()
    for cell in cells(args.models, args.seeds):
        if time.monotonic() - started > args.hours * 3600:
            break
        if cell.key in records:
            continue
        if cell.phase == 1:
            records[cell.key] = detect(cell, args)
        else:
            first = records.get(cell._replace(phase=1).key, {})
            records[cell.key] = adapt(cell, args, first.get("kept"))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(records, indent=0) + "\n")
        shown = {k: v for k, v in records[cell.key].items() if isinstance(v, float)}
        print(time.strftime("%H:%M:%S"), cell.key, shown, flush=True)
        if time.monotonic() - written > 60:
            write_page(records, args.out, about(args))
            written = time.monotonic()
    write_page(records, args.out, about(args))


def about(args) -> str:
    """One paragraph on how the figures were made."""
    return (
        f"Command: `python benchmarks/deft.py --images {args.images} --classes {args.classes} "
        f"--epochs {args.epochs} --batch-size {args.batch_size} --precision {args.precision} "
        f"--test-images {args.test_images} --adapt-lr {args.adapt_lr}` with the models of the "
        f"tables. {args.images} random images of a label set, the first {args.classes} classes of "
        f"Tiny-ImageNet, {args.epochs} epochs in both phases in batches of {args.batch_size}, "
        f"mixed precision {args.precision}, full fine-tuning at a learning rate of "
        f"{args.adapt_lr}, {args.test_images} test images. Mean ± standard deviation (n - 1) over "
        "three seeds, or over n; a seed decides the subset, the injected noise and the training. "
        "The known rate of small-loss is the true one; nothing else was told the truth."
    )


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    shared = Path("../shared")
    parser.add_argument("--shared", type=Path, default=shared)
    models = [shared / "models" / name for name in ("mini-vlm-photo", "mini-vlm-tin")]
    parser.add_argument("--models", nargs="+", type=Path, default=models)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=400)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--test-images", type=int, default=500)
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--precision", default="bfloat16")
    parser.add_argument("--adapt-lr", type=float, default=0.005, help="of full fine-tuning")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--hours", type=float, default=1000, help="no new cell after these")
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/results/deft"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    measure(args)


if __name__ == "__main__":
    main()
