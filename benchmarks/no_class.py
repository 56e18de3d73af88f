"""Images of no class: are they told apart from images that are merely mislabeled?

Images of another data set are mixed in under random labels, next to symmetric noise on the host's
own labels. Among the rows whose label is wrong, each score ranks the foreign ones: the largest
margin of the dual prompts over classes (the negative prompt wins everywhere where it is below 0),
the distance to the nearest neighbours, how much the labels of these differ, and the largest
zero-shot cosine.

    python benchmarks/no_class.py
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from labelsieve.backbones import FeatureCache, ImageFeatures, extract_features, load_backbone
from labelsieve.core.random import numpy_generator
from labelsieve.data import inject_noise, load_images
from labelsieve.detectors import DETECTORS
from labelsieve.prompts import zero_shot_classifier

HOSTS = {
    "cifar10 with tiny-imagenet": ("cifar10n_train", "tinyimagenet_train"),
    "tiny-imagenet with cifar10": ("tinyimagenet_train", "cifar10n_train"),
}
NEIGHBOURS = 10


def mixture(shared: Path, host: str, foreign: str, backbone, args, seed: int):
    """Features, noisy labels, class names and the two kinds of wrong rows."""
    generator = numpy_generator(seed)
    parts = []
    for name, n in ((host, args.images), (foreign, args.foreign)):
        images = load_images(shared / "data" / f"{name}.parquet", label_column="label")
        if name == host and args.classes < len(images.class_names):
            images = images.subset(images.given_labels < args.classes)
            images = images.with_labels(images.given_labels, images.class_names[: args.classes])
        images = images.subset(np.sort(generator.permutation(len(images))[:n]))
        found = extract_features(images, backbone, cache=FeatureCache()).features
        parts.append((images, found, images.given_labels))
    (images, inside, truth), (_, outside, _) = parts
    k = len(images.class_names)
    noisy = inject_noise(truth, k, kind="symmetric", rate=args.rate, random_state=seed).labels
    labels = np.append(noisy, generator.integers(k, size=len(outside)))
    is_foreign = np.arange(len(labels)) >= len(inside)
    is_mislabeled = ~is_foreign & (labels != np.append(truth, np.zeros(len(outside), int)))
    return np.vstack([inside, outside]), labels, images, is_foreign, is_mislabeled


def neighbour_scores(features: np.ndarray, labels: np.ndarray) -> dict[str, np.ndarray]:
    """Mean cosine distance to the nearest neighbours, and how much their labels differ, (N,)."""
    similarity = features @ features.T
    np.fill_diagonal(similarity, -np.inf)
    nearest = np.argsort(-similarity, axis=1)[:, :NEIGHBOURS]
    distance = 1 - np.take_along_axis(similarity, nearest, axis=1).mean(axis=1)
    counts = (labels[nearest][:, :, None] == np.arange(labels.max() + 1)).sum(axis=1)
    return {
        "neighbour distance": distance,
        "disagreement of neighbours": 1 - counts.max(axis=1) / NEIGHBOURS,
    }


def measure(args) -> None:
    """One record a model, host and seed; those that are in the file already are kept."""
    path = args.out.with_suffix(".json")
    records = json.loads(path.read_text()) if path.exists() else []
    known = {(r["model"], r["data"], r["seed"]) for r in records}
    for model in args.models:
        for title in HOSTS:
            for seed in range(args.seeds):
                if (model.name, title, seed) in known:
                    continue
                found = figures(load_backbone(str(model)), title, seed, args)
                records.append({"model": model.name, "data": title, "seed": seed} | found)
                print(records[-1], flush=True)
                path.write_text(json.dumps(records, indent=1) + "\n")
                args.out.with_suffix(".md").write_text(markdown(records, args) + "\n")


def figures(backbone, title: str, seed: int, args) -> dict[str, float]:
    """How well each score tells foreign images from mislabeled ones."""
    x, y, images, is_foreign, is_mislabeled = mixture(
        args.shared, *HOSTS[title], backbone, args, seed
    )
    detector = DETECTORS.get("dual-prompts")(
        backbone, class_names=images.prompt_names, random_state=seed
    ).fit(ImageFeatures(x), y)
    wrong = is_foreign | is_mislabeled
    cosine = x @ zero_shot_classifier(backbone, images.prompt_names).weights.numpy().T
    scores = {
        "largest margin of dual prompts": -detector.largest_margin_,
        **neighbour_scores(x, y),
        "largest zero-shot cosine": -cosine.max(axis=1),
    }
    dropped = detector.fits_no_class_
    rows = {"foreign": is_foreign, "mislabeled": is_mislabeled, "clean": ~wrong}
    record = {f"share of {name} dropped": float(dropped[at].mean()) for name, at in rows.items()}
    for name, score in scores.items():
        record[f"AUROC {name}"] = float(roc_auc_score(is_foreign[wrong], score[wrong]))
    return record


def markdown(records: list[dict], args) -> str:
    """A table of mean and standard deviation over seeds."""
    table = pd.DataFrame(records)
    columns = [c for c in table.columns if c.startswith(("AUROC", "share"))]
    lines = [
        "# Images of no class",
        "",
        f"Command: `python benchmarks/no_class.py --seeds {args.seeds} --images {args.images} "
        f"--foreign {args.foreign} --classes {args.classes} --rate {args.rate}`. {args.images:,} "
        f"images of the (at most {args.classes}) first classes of the host with "
        f"symmetric noise of {args.rate:.0%}, {args.foreign:,} images of the other data set under "
        f"random labels; mean ± standard deviation (n - 1) over {args.seeds} seeds. AUROC: foreign "
        "against mislabeled images of the host, 0.5 is chance. Dual prompts on frozen features.",
        "",
        "| model | data | " + " | ".join(columns) + " |",
        "|---" * (len(columns) + 2) + "|",
    ]
    for (model, data), group in table.groupby(["model", "data"], sort=False):
        cells = [f"{group[c].mean():.3f} ± {group[c].std():.3f}" for c in columns]
        lines.append(f"| {model} | {data} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    shared = Path("../shared")
    parser.add_argument("--shared", type=Path, default=shared)
    models = [shared / "models" / name for name in ("mini-vlm-photo", "mini-vlm-tin")]
    parser.add_argument("--models", nargs="+", type=Path, default=models)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--foreign", type=int, default=200)
    parser.add_argument("--classes", type=int, default=20, help="first classes of the host")
    parser.add_argument("--rate", type=float, default=0.2)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/results/no-class"))
    measure(parser.parse_args())


if __name__ == "__main__":
    main()
