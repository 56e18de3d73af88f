"""What photo models can do: zero-shot, 16 shots, linear probe, side by side.

    python -m recipes.mini_photo.evaluate DIR [DIR ...] --data FOLDER -o FILE.md

True labels are read here: to score, to fit the linear probe, and to draw the clean 16 shots.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from labelsieve.backbones import AbstractBackbone, FeatureCache, extract_features, load_backbone
from labelsieve.data import few_shot, load_images
from labelsieve.prompts import zero_shot_classifier
from labelsieve.tuners import TUNERS

GROUNDS = {
    "Tiny-ImageNet": ("tinyimagenet_train", "tinyimagenet_test"),
    "CIFAR-10": ("cifar10n_train", "cifar10_test"),
}
SEEDS = (1, 2, 3)
STEPS = 500
TEMPLATES = (
    "a photo of a {}.",
    "a low resolution photo of a {}.",
    "a blurry photo of a {}.",
    "a picture of a {}.",
    "{}.",
)


def read(path: Path, backbone: AbstractBackbone):
    """Return images, features and true labels of a file."""
    images = load_images(path, label_column="label")
    features = extract_features(images, backbone, cache=FeatureCache()).features
    return images, features, images.given_labels


def linear_probe(features: np.ndarray, labels: np.ndarray):
    """Fit logistic regression on standardised features, with all clean labels."""
    head = make_pipeline(StandardScaler(), LogisticRegression(C=0.01, max_iter=500))
    return head.fit(features, labels)


def measure(model: Path, folder: Path) -> list[dict]:
    """Measure one model on both grounds."""
    backbone, records = load_backbone(str(model)), []
    for ground, (train, test) in GROUNDS.items():
        images, features, labels = read(folder / f"{train}.parquet", backbone)
        _, unseen, truth = read(folder / f"{test}.parquet", backbone)
        zero_shot = zero_shot_classifier(backbone, images.prompt_names, TEMPLATES)
        tuned = []
        for seed in SEEDS:
            shots = few_shot(labels, shots=16, random_state=seed)
            epochs = round(STEPS * 32 / len(shots))
            options = {"loss": "ce", "epochs": epochs, "random_state": seed}
            tuner = TUNERS.get("coop")(backbone, class_names=images.class_names, **options)
            tuner.fit(features[shots], labels[shots])
            tuned.append(float((tuner.predict(unseen) == truth).mean()))
        guesses = zero_shot.predict_proba(unseen).argmax(axis=1)
        probe = linear_probe(features, labels)
        record = {
            "model": model.name,
            "ground": ground,
            "zero_shot": float((guesses == truth).mean()),
            "shots_16": [float(np.mean(tuned)), float(np.std(tuned, ddof=1))],
            "linear_probe": float((probe.predict(unseen) == truth).mean()),
        }
        print(json.dumps(record), file=sys.stderr)
        records.append(record)
    return records


def write_table(records: list[dict], path: Path, command: str) -> None:
    """Write the records beside each other as Markdown, and as JSON."""
    path.with_suffix(".json").write_text(
        json.dumps({"command": command, "records": records}, indent=2) + "\n"
    )
    lines = [
        "# Small photo models",
        "",
        f"Command: `{command}`. Accuracy on the test images. 16 shots: prompt tuning (CoOp, "
        f"cross-entropy, clean shots, {STEPS} steps), {len(SEEDS)} seeds, mean and "
        "standard deviation. Linear probe: logistic regression on all clean training labels.",
        "",
        "| model | test images of | zero-shot | 16 shots | linear probe | probe - zero-shot |",
        "|---|---|---|---|---|---|",
    ]
    for r in records:
        mean, deviation = r["shots_16"]
        cells = [r["model"], r["ground"], f"{r['zero_shot']:.3f}", f"{mean:.3f} ± {deviation:.3f}"]
        cells += [f"{r['linear_probe']:.3f}", f"{r['linear_probe'] - r['zero_shot']:+.3f}"]
        lines.append("| " + " | ".join(cells) + " |")
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Measure each model and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--data", type=Path, required=True, help="folder of the parquet files")
    parser.add_argument("-o", "--output", type=Path, required=True, help="Markdown file to write")
    arguments = parser.parse_args()
    records = [r for model in arguments.models for r in measure(model, arguments.data)]
    names = " ".join(model.name for model in arguments.models)
    command = (
        f"python -m recipes.mini_photo.evaluate {names} --data FOLDER -o {arguments.output.name}"
    )
    write_table(records, arguments.output, command)


if __name__ == "__main__":
    main()
