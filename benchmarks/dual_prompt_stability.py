"""Do the dual prompts keep their classes? L_sim at the fitted scale against the model's own.

Every cell (problem, start of the positive context, scale, seed) is measured once and kept in the
JSON file. A tenth of the rows is held out with its given labels; a run that has lost its classes
shows there, and in its training loss, without any true label. The true labels score the result.

    python benchmarks/dual_prompt_stability.py
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pandas as pd
import torch
from deft import label_sets

from labelsieve.backbones import FeatureCache, extract_features, load_backbone
from labelsieve.bench.demo import write_digits
from labelsieve.bench.metrics import clean_set_metrics, detection_metrics
from labelsieve.data import inject_noise, load_images
from labelsieve.detectors import dual_prompt_losses
from labelsieve.detectors.dual_prompts import DualPrompts

STARTS = {"words": "a photo of a", "random": None}
SCALES = ("the model's", "fitted")
CASES = ("cifar10n worse", "tiny-imagenet symmetric 0.4")
MODELS = ("mini-vlm-photo", "mini-vlm-tin")
COLUMNS = {
    "held_out": "agrees with held-out given labels",
    "worst": "its worst seed",
    "loss": "training loss at the end",
    "f1": "F1 of the clean set",
    "average_precision": "average precision",
    "accuracy": "accuracy",
}


def digits(seed: int):
    """The training images of the demo, their noisy and their true labels."""
    with tempfile.TemporaryDirectory() as folder:
        train, _ = write_digits(Path(folder), seed)
        images = load_images(train)
        truth = images.given_labels
        noisy = inject_noise(truth, 10, kind="symmetric", rate=0.3, random_state=seed).labels
        backbone = load_backbone("mini-glyph")
        features = extract_features(images, backbone, cache=FeatureCache())
    return backbone, features, images.with_labels(noisy), truth


def problems(args, seed: int):
    """Yield (name, backbone, features, images with noisy labels, true labels)."""
    yield "mini-glyph, digits symmetric 0.3", *digits(seed)
    for model in MODELS:
        backbone = load_backbone(str(args.shared / "models" / model))
        for case, images, truth in label_sets(args.shared, args.images, 10, seed):
            if case in CASES:
                features = extract_features(images, backbone, cache=FeatureCache())
                yield f"{model}, {case}", backbone, features, images, truth


def run(backbone, features, images, truth, start: str, scale: str, seed: int) -> dict:
    """One fit, judged by held-out given labels and by the truth."""
    held = np.arange(len(truth)) % 10 == 9
    detector = DualPrompts(
        backbone, class_names=images.prompt_names, initial_text=STARTS[start], random_state=seed
    )
    of_model = patch.object(dual_prompt_losses, "fitted_scale", lambda z, y: torch.ones(()))
    given, x = images.given_labels, features.features
    if scale == "fitted":
        detector.fit(x[~held], given[~held])
    else:
        with of_model:
            detector.fit(x[~held], given[~held])
    wrong = (given != truth)[~held]
    guess = detector.classifier_.predict_proba(x[held]).argmax(axis=1)
    found = detection_metrics(detector.label_score_, detector.is_label_issue_, wrong)
    return {
        "held_out": float((guess == given[held]).mean()),
        "loss": detector.history_[-1]["loss"],
        "f1": clean_set_metrics(~detector.is_label_issue_, ~wrong)["f1"],
        "average_precision": found["average_precision"],
        "accuracy": float((detector.probabilities_.argmax(axis=1) == truth[~held]).mean()),
    }


def markdown(records: dict, args) -> str:
    """A row for every problem, start and scale: mean ± standard deviation over seeds."""
    rows = [dict(zip(("problem", "start", "scale", "seed"), key.split(" | "), strict=True)) | value
            for key, value in records.items()]  # fmt: skip
    table = pd.DataFrame(rows)
    lines = [
        "# Do dual prompts keep their classes?",
        "",
        f"Command: `python benchmarks/dual_prompt_stability.py --images {args.images}`. Dual prompts "
        "with default parameters on frozen features; `L_sim` at the model's logit scale, as "
        "published, or at the scale fitted to each batch. Fitted to nine of ten rows; the agreement "
        "with the given labels of the tenth needs no truth. F1, average precision and accuracy are "
        "of the training rows against true labels. Mean ± standard deviation over n seeds; a seed "
        "decides rows, noise and training.",
        "",
        "| problem | start | scale | n | " + " | ".join(COLUMNS.values()) + " |",
        "|---" * (len(COLUMNS) + 4) + "|",
    ]
    for key, group in table.groupby(["problem", "start", "scale"], sort=False):
        cells = [f"{group['held_out'].min():.3f}" if name == "worst" else
                 f"{group[name].mean():.3f} ± {group[name].std(ddof=0):.3f}" for name in COLUMNS]  # fmt: skip
        lines.append(f"| {' | '.join(key)} | {len(group)} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Parse, measure what is missing, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/results/deft-stability"))
    args = parser.parse_args()
    store = args.out.with_suffix(".json")
    records = json.loads(store.read_text()) if store.exists() else {}
    for seed in range(args.seeds):
        for name, *problem in problems(args, seed):
            for start in STARTS:
                for scale in SCALES:
                    key = f"{name} | {start} | {scale} | {seed}"
                    if key in records:
                        continue
                    records[key] = run(*problem, start, scale, seed)
                    print(key, records[key], flush=True)
                    store.write_text(json.dumps(dict(sorted(records.items())), indent=1) + "\n")
                    args.out.with_suffix(".md").write_text(
                        markdown(dict(sorted(records.items())), args)
                    )


if __name__ == "__main__":
    main()
