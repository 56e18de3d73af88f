"""One cell of DeFT's tables: its data, its detector or fine-tuned model, its figures."""

from __future__ import annotations

import time
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from labelsieve.backbones import FeatureCache, extract_features, load_backbone
from labelsieve.bench.metrics import clean_set_metrics, detection_metrics, reliability
from labelsieve.bench.metrics import expected_calibration_error as calibration_error
from labelsieve.core.exceptions import LabelSieveError
from labelsieve.data import inject_noise, load_images
from labelsieve.detectors import DETECTORS
from labelsieve.tuners import TUNERS


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


@cache
def label_set(shared: Path, case: str, seed: int, n_images: int, n_classes: int):
    """A subset of images with noisy labels, and their true labels; the seed decides both."""
    data, (kind, _, rest) = shared / "data", case.partition(" ")
    pick = np.random.default_rng(seed)
    if kind == "cifar10n":
        column = "label" if rest == "clean" else f"label_{rest}"
        noisy = load_images(data / "cifar10n_train.parquet", label_column=column)
        truth = load_images(data / "cifar10n_train.parquet", label_column="label").given_labels
        rows = np.sort(pick.permutation(len(truth))[:n_images])
        return noisy.subset(rows), truth[rows]
    images = few_classes(load_images(data / "tinyimagenet_train.parquet"), n_classes)
    images = images.subset(np.sort(pick.permutation(len(images))[:n_images]))
    if rest == "clean":
        return images, images.given_labels
    noise, rate = rest.split()
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


def measure_cell(cell: Cell, args, kept: str | None, lr: float) -> dict[str, Any]:
    """The figures of a cell; phase 2 needs what phase 1 kept and the rate of phase 0."""
    if cell.phase == 1:
        record = detect(cell, args)
    else:
        record = adapt(cell, args, kept, lr) if cell.phase == 2 else try_rate(cell, args)
    device = backbone_of(cell.model, args.device).device.type
    return record | {"device": device, "arithmetic": args.precision}
