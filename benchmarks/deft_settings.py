"""Why DeFT's order is as it is: the settings of phase 1, one changed at a time, on frozen features.

The learning rate, the warm-up, the start of the contexts and the authors' rule for real noise, on
two human and two injected label sets. Every cell is kept in the JSON file; a run that is stopped
continues where it stopped.

    python benchmarks/deft_settings.py --models ../shared/models/mini-vlm-photo ...
"""

from __future__ import annotations

import argparse
from itertools import product
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from deft_cells import backbone_of, label_set
from deft_page import pivot, read, write

from labelsieve.backbones import FeatureCache, extract_features
from labelsieve.bench.metrics import clean_set_metrics
from labelsieve.detectors.dual_prompts import DualPrompts

CASES = ("cifar10n worse", "cifar10n aggre")
CASES += ("tiny-imagenet symmetric 0.2", "tiny-imagenet symmetric 0.6")
SETTINGS: dict[str, dict[str, Any]] = {
    "published": {},
    "rate 0.003": {"lr": 0.003},
    "rate 0.3": {"lr": 0.3},
    "no warm-up": {"warmup_epochs": 0},
    "warm-up 5": {"warmup_epochs": 5},
    "real noise": {"warmup_epochs": 5, "warmup_loss": "sce", "agreement": True},
    "40 epochs": {"epochs": 40},
    "random start": {"initial_text": None},
}
FIGURES = {
    "f1": "F1 of the clean set",
    "recall": "Recall of the clean set",
    "precision": "Precision of the clean set",
    "accuracy": "Accuracy of the positive prompts on the training images",
}


def run(model: Path, case: str, seed: int, setting: str, args) -> dict[str, float]:
    """One fit, scored by the truth."""
    images, truth = label_set(args.shared, case, seed, args.images, 10)
    backbone = backbone_of(model, "cpu")
    features = extract_features(images, backbone, cache=FeatureCache(), show=False)
    detector = DualPrompts(backbone, random_state=seed, **SETTINGS[setting]).fit(features, images)
    right = images.given_labels == truth
    accuracy = float((detector.probabilities_.argmax(axis=1) == truth).mean())
    return clean_set_metrics(~detector.is_label_issue_, right) | {"accuracy": accuracy}


def page(records: dict[str, dict[str, float]], args) -> str:
    """Tables of all figures, a model after the other."""
    names = ("model", "case", "seed", "method")
    table = pd.DataFrame(
        [dict(zip(names, key.split(" | "), strict=True)) | cell for key, cell in records.items()]
    )
    words = "; ".join(
        f"{name}: {', '.join(f'`{k}={v}`' for k, v in given.items())}"
        for name, given in SETTINGS.items()
        if given
    )
    lines = [
        "# DeFT's phase 1, one setting changed at a time",
        "",
        f"Command: `python benchmarks/deft_settings.py --images {args.images}` with the models of "
        f"the tables. Dual prompts on frozen features, {args.images} images, ten classes, float32 "
        "on a CPU. Published: 10 epochs, batches of 64, rate 0.03, one epoch of warm-up, contexts "
        f"from words. {words}. Mean ± standard deviation (n - 1) over three seeds, or over n.",
        "",
    ]
    for model, of_model in table.groupby("model", sort=False):
        for column, title in FIGURES.items():
            lines += [f"## {model}: {title}", "", *pivot(of_model, column), ""]
    return "\n".join(lines)


def main() -> None:
    """Measure what is missing, write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    shared = Path("../shared")
    parser.add_argument("--shared", type=Path, default=shared)
    models = [shared / "models" / name for name in ("mini-vlm-photo", "mini-vlm-tin")]
    parser.add_argument("--models", nargs="+", type=Path, default=models)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/results/deft-settings"))
    args = parser.parse_args()
    torch.set_num_threads(1)
    path = args.out.with_suffix(".json")
    records = read(path)
    for seed, model, case, setting in product(range(args.seeds), args.models, CASES, SETTINGS):
        key = f"{model.name} | {case} | {seed} | {setting}"
        if key not in records:
            records[key] = run(model, case, seed, setting, args)
            write(records, path)
            print(key, {k: round(v, 3) for k, v in records[key].items()}, flush=True)
    order = [f"{m.name} | {c} | {s}" for m, c, s in product(args.models, CASES, range(args.seeds))]
    shown = [f"{start} | {setting}" for start, setting in product(order, SETTINGS)]
    args.out.with_suffix(".md").write_text(
        page({key: records[key] for key in shown if key in records}, args)
    )


if __name__ == "__main__":
    main()
