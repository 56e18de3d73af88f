"""DeFT's tables: which labels each detector keeps, and what a model fine-tuned on them reaches.

Every cell (model, label set, seed, method) is measured once and kept in the JSON file, so a killed
run continues where it stopped and a larger one adds to a smaller one:

    python benchmarks/deft.py --images 2000 --epochs 10
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from labelsieve.backbones import FeatureCache, extract_features, load_backbone
from labelsieve.bench.metrics import clean_set_metrics, detection_metrics
from labelsieve.bench.metrics import expected_calibration_error as calibration_error
from labelsieve.data import inject_noise, load_images
from labelsieve.detectors import DETECTORS
from labelsieve.tuners import TUNERS
from labelsieve.visual_tuning import VISUAL_TUNINGS

HUMAN = ("worse", "random1", "aggre", "true labels")
SYNTHETIC = (
    ("symmetric", 0.2),
    ("symmetric", 0.4),
    ("symmetric", 0.6),
    ("instance-dependent", 0.2),
    ("instance-dependent", 0.4),
)
CHEAP = ("label-match", "small-loss mixture", "small-loss known rate", "dual-prompts none")
TUNED = tuple(f"dual-prompts {name}" for name in VISUAL_TUNINGS.names() if name != "full")
BASELINES = tuple(f"fft {name}" for name in ("ce", "sce", "elr", "gmm", "small-loss"))
PARADIGMS = ("vpt ce", "vlpt ce")


def label_sets(shared: Path, n_images: int | None, n_classes: int | None, seed: int):
    """Yield (name, images with noisy labels, true labels) for every noisy label set."""
    data = shared / "data"
    pick = np.random.default_rng(seed)
    clean = load_images(data / "cifar10n_train.parquet", label_column="label")
    rows = np.sort(pick.permutation(len(clean))[: n_images or len(clean)])
    for name in HUMAN:
        column = "label" if name == "true labels" else f"label_{name}"
        noisy = load_images(data / "cifar10n_train.parquet", label_column=column)
        yield f"cifar10n {name}", noisy.subset(rows), clean.given_labels[rows]
    tiny = few_classes(load_images(data / "tinyimagenet_train.parquet"), n_classes)
    rows = np.sort(pick.permutation(len(tiny))[: n_images or len(tiny)])
    tiny = tiny.subset(rows)
    for kind, rate in SYNTHETIC:
        found = inject_noise(
            tiny.given_labels,
            len(tiny.class_names),
            kind=kind,
            rate=rate,
            random_state=seed,
            images=tiny,
        )
        yield f"tiny-imagenet {kind} {rate}", tiny.with_labels(found.labels), tiny.given_labels


def few_classes(images, n_classes: int | None):
    """The images of the first classes only; all where None."""
    if n_classes is None:
        return images
    kept = images.subset(images.given_labels < n_classes)
    return kept.with_labels(kept.given_labels, images.class_names[:n_classes])


def test_set(shared: Path, case: str, n_images: int | None, n_classes: int | None):
    """The test images of a label set."""
    name = "cifar10_test" if case.startswith("cifar") else "tinyimagenet_test"
    images = load_images(shared / "data" / f"{name}.parquet")
    images = images if case.startswith("cifar") else few_classes(images, n_classes)
    rows = np.random.default_rng(0).permutation(len(images))[: n_images or len(images)]
    return images.subset(np.sort(rows))


def make_detector(method: str, backbone, rate: float, args, seed: int):
    """A detector by the name of its column."""
    name, _, variant = method.partition(" ")
    if name == "label-match":
        return DETECTORS.get(name)(backbone)
    if name == "small-loss":
        known = rate if variant == "known rate" else None
        return DETECTORS.get(name)(backbone, noise_rate=known, random_state=seed)
    return DETECTORS.get(name)(
        backbone, visual_tuning=variant, epochs=args.epochs, random_state=seed
    )


def fine_tune(backbone, images, labels, test, args, seed, paradigm="fft", **options) -> dict:
    """Phase 2: full fine-tuning of the vision tower with a linear head on some labels.

    The paradigms vpt (deep prompts, linear head) and vlpt (deep prompts, prompts as the head) are
    measured the same way, each with its own default learning rate.
    """
    started = time.perf_counter()
    if paradigm == "fft":
        options["lr"] = args.adapt_lr
    tuner = TUNERS.get(paradigm)(backbone, epochs=args.epochs, random_state=seed, **options)
    tuner.fit(images.with_labels(labels))
    accuracy = float((tuner.predict(test) == test.given_labels).mean())
    return {"test_accuracy": accuracy, "adapt_seconds": round(time.perf_counter() - started, 1)}


def detect(method: str, backbone, features, images, truth, args, seed: int):
    """One detector's figures, and the detector."""
    wrong = images.given_labels != truth
    detector = make_detector(method, backbone, float(wrong.mean()), args, seed)
    started = time.perf_counter()
    detector.fit(features, images)
    record = {"seconds": round(time.perf_counter() - started, 1), "noise": float(wrong.mean())}
    record |= clean_set_metrics(~detector.is_label_issue_, ~wrong)
    found = detection_metrics(detector.label_score_, detector.is_label_issue_, wrong)
    record |= {"average_precision": found["average_precision"]}
    record["train_accuracy"] = float((detector.probabilities_.argmax(1) == truth).mean())
    if np.isfinite(detector.p_clean_).all():
        record["calibration_error"] = calibration_error(detector.p_clean_, ~wrong)
        record["reliability"] = reliability(detector.p_clean_, ~wrong)
    if hasattr(detector, "raw_p_clean_"):
        record["raw_calibration_error"] = calibration_error(detector.raw_p_clean_, ~wrong)
        record["raw_reliability"] = reliability(detector.raw_p_clean_, ~wrong)
    return record, detector


def reliability(p_clean, clean, n_bins: int = 10) -> list[list[float]]:
    """Per bin of clean probability: mean probability, share that is clean, number of labels."""
    bins = np.minimum((p_clean * n_bins).astype(int), n_bins - 1)
    return [
        [float(p_clean[bins == b].mean()), float(clean[bins == b].mean()), int((bins == b).sum())]
        for b in np.unique(bins)
    ]


def measure(args) -> None:
    """Run the cells that are missing, those of all models and seeds method by method."""
    records = json.loads(args.out.with_suffix(".json").read_text()) if args.resume() else {}
    for method in args.methods:
        for model in args.models:
            backbone = load_backbone(str(args.shared / "models" / model), device=args.device)
            for seed in range(args.seeds):
                for case, images, truth in label_sets(args.shared, args.images, args.classes, seed):
                    key = f"{model} | {case} | {seed} | {method}"
                    if key in records or not args.wants(case):
                        continue
                    features = extract_features(images, backbone, cache=FeatureCache())
                    record = run_cell(method, backbone, features, images, truth, case, args, seed)
                    records[key] = record
                    write(args, records)
                    print(
                        key, {k: v for k, v in record.items() if isinstance(v, float)}, flush=True
                    )


def run_cell(method, backbone, features, images, truth, case, args, seed) -> dict:
    """A detector with phase 2 on what it keeps, or a baseline that sees all given labels."""
    test = test_set(args.shared, case, args.test_images, args.classes)
    paradigm, _, baseline = method.partition(" ")
    if paradigm in ("fft", "vpt", "vlpt"):
        rate = float((images.given_labels != truth).mean())
        options = {"loss" if paradigm == "vlpt" else "baseline": baseline}
        if baseline == "small-loss":
            options["noise_rate"] = rate
        found = fine_tune(
            backbone, images, images.given_labels, test, args, seed, paradigm, **options
        )
        return {"noise": rate} | found
    record, detector = detect(method, backbone, features, images, truth, args, seed)
    if method in args.adapt:
        kept = np.where(detector.is_label_issue_, -1, images.given_labels)
        record |= fine_tune(backbone, images, kept, test, args, seed)
    return record


TITLES = {
    "f1": "F1 of the clean set",
    "precision": "Precision of the clean set",
    "recall": "Recall of the clean set",
    "average_precision": "Average precision of finding wrong labels",
    "test_accuracy": "Test accuracy after phase 2 (full fine-tuning of the vision tower)",
    "calibration_error": "Expected calibration error of p_clean",
    "raw_calibration_error": "Expected calibration error of the paper's clean probability",
    "seconds": "Seconds of detection (features cached for `none`)",
}


def markdown(records: dict, args) -> str:
    """Tables of mean and standard deviation over the seeds that were run."""
    rows = []
    for key, record in records.items():
        model, case, seed, method = key.split(" | ")
        rows.append({"model": model, "case": case, "seed": seed, "method": method} | record)
    table = pd.DataFrame(rows)
    lines = ["# DeFT on small models", "", args.about(), ""]
    for model, of_model in table.groupby("model", sort=False):
        lines += [f"## {model}", ""]
        for column, title in TITLES.items():
            if column not in of_model or of_model[column].isna().all():
                continue
            here = of_model[of_model[column].notna()]
            lines += [f"### {title}", ""]
            lines += pivot(here, column) + [""]
    lines += ["## Reliability of the clean probability", ""]
    lines += [f"![Reliability]({args.out.name}-reliability.svg)", ""]
    lines += ["Dual prompts, all cells pooled, ten bins."]
    return "\n".join(lines)


def pivot(table: pd.DataFrame, column: str) -> list[str]:
    """One Markdown table: methods in rows, label sets in columns; n where seeds are fewer."""
    cases = list(dict.fromkeys(table["case"]))
    lines = ["| method | " + " | ".join(cases) + " |", "|---" * (len(cases) + 1) + "|"]
    for method, of_method in table.groupby("method", sort=False):
        cells = []
        for case in cases:
            values = of_method.loc[of_method["case"] == case, column]
            digits = 1 if column == "seconds" else 3
            spread = f" ± {values.std(ddof=0):.{digits}f}" if len(values) > 1 else ""
            n = f" (n={len(values)})"
            cells.append(f"{values.mean():.{digits}f}{spread}{n}" if len(values) else "")
        lines.append(f"| {method} | " + " | ".join(cells) + " |")
    return lines


def draw_reliability(records: dict, path: Path) -> None:
    """Share of clean labels against clean probability, pooled over all cells of dual prompts."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(4.2, 4), layout="constrained")
    axes.plot([0, 1], [0, 1], color="0.6", linewidth=1, label="perfect")
    for field, label, style in (
        ("raw_reliability", "the paper's", "s--"),
        ("reliability", "calibrated", "o-"),
    ):
        rows = [
            (*row, int(row[0] * 10))
            for record in records.values()
            if "raw_reliability" in record
            for row in record.get(field, [])
        ]
        table = pd.DataFrame(rows, columns=["p", "clean", "n", "bin"])
        if len(table) == 0:
            return
        pooled = table.assign(p=table.p * table.n, clean=table.clean * table.n)
        pooled = pooled.groupby("bin")[["p", "clean", "n"]].sum()
        axes.plot(pooled.p / pooled.n, pooled.clean / pooled.n, style, label=label)
    axes.set(xlabel="clean probability", ylabel="share of labels that are right")
    axes.legend(frameon=False)
    figure.savefig(path)
    pyplot.close(figure)


def write(args, records: dict) -> None:
    """The records, the tables and the reliability plot of what is measured so far."""
    args.out.parent.mkdir(parents=True, exist_ok=True)
    args.out.with_suffix(".json").write_text(json.dumps(records, indent=1) + "\n")
    args.out.with_suffix(".md").write_text(markdown(records, args).rstrip() + "\n")
    draw_reliability(records, args.out.with_name(f"{args.out.name}-reliability.svg"))


class Arguments(argparse.Namespace):
    """The command line, with what the result files say of it."""

    def resume(self) -> bool:
        """Whether there are results to add to."""
        return self.out.with_suffix(".json").exists()

    def wants(self, case: str) -> bool:
        """Whether a label set is asked for; the true labels only by their name."""
        words = [word for word in self.cases if "true" in word or "true" not in case]
        return any(word in case for word in words)

    def about(self) -> str:
        """One paragraph on how the figures were made."""
        images = "all" if self.images is None else f"{self.images:,} random"
        classes = "all 200" if self.classes is None else f"the first {self.classes}"
        return (
            f"Command: `python benchmarks/deft.py --images {self.images} --classes {self.classes} "
            f"--epochs {self.epochs} --test-images {self.test_images} --adapt-lr {self.adapt_lr}` "
            "with the methods and cases that the tables show. Mean ± standard deviation over n "
            "seeds; a seed decides the subset, the injected noise and the training. "
            f"{images} images of a label set, "
            f"{classes} classes of Tiny-ImageNet, {self.epochs} epochs in both phases"
            f"{self.rate()}. The known rate of small-loss is the true one; nothing else was told "
            "the truth."
        )

    def rate(self) -> str:
        """The learning rate of phase 2, where it is not the published one."""
        return "" if self.adapt_lr is None else f", learning rate {self.adapt_lr:g} in phase 2"


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--models", nargs="+", default=["mini-vlm-photo", "mini-vlm-tin"])
    every = [*CHEAP, *BASELINES, *PARADIGMS, *TUNED[1:]]
    parser.add_argument("--methods", nargs="+", default=every)
    parser.add_argument("--adapt", nargs="*", default=[*CHEAP, *TUNED])
    parser.add_argument("--cases", nargs="+", default=["cifar", "tiny"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int)
    parser.add_argument("--classes", type=int)
    parser.add_argument("--test-images", type=int)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--adapt-lr", type=float, help="of phase 2; unset, the published one")
    parser.add_argument("--device", default="auto")
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/results/deft"))
    args = parser.parse_args(namespace=Arguments())
    torch.set_num_threads(max(torch.get_num_threads(), 1))
    measure(args)


if __name__ == "__main__":
    main()
