"""Do the estimates of a scan keep their word?

    python benchmarks/honesty.py --shared ../shared

For each data set, kind of noise and seed: fit the default detector, keep every p_clean beside the
truth, and rehearse (self-check). `honesty_page.py` makes the page of it. Finished cells are kept,
so it can be stopped. True labels are read here, for scoring, and nowhere else.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from honesty_page import Kept, write

from labelsieve import load_backbone, load_images
from labelsieve.backbones import FeatureCache, extract_features
from labelsieve.bench.demo import write_digits
from labelsieve.core.serialization import atomic_path
from labelsieve.data import inject_noise
from labelsieve.detectors import DETECTORS
from labelsieve.sieve.self_check import self_check

SYNTHETIC = [("symmetric", r) for r in (0.1, 0.2, 0.4, 0.6)] + [
    ("pair-flip", r) for r in (0.1, 0.3)
]
HUMAN = ("label_aggre", "label_random1", "label_worse")
N_ROWS = 3000


def grounds(shared: Path, work: Path, models: list[str]) -> Iterator[tuple[str, str, object]]:
    """Name, model and images (with their true labels) of every data set."""
    cifar = load_images(shared / "data/cifar10n_train.parquet", label_column="label")
    tiny = load_images(shared / "data/tinyimagenet_train.parquet", label_column="label")
    twenty = tiny.subset(np.flatnonzero(tiny.given_labels < 20))
    twenty = twenty.with_labels(twenty.given_labels, tiny.class_names[:20])
    digits = work / "digits"
    if not digits.exists():
        write_digits(digits, random_state=0)
    for model in models:
        here = shared / "models" / model
        yield "cifar10", str(here if here.exists() else model), cifar
        yield "tiny-imagenet 20", str(here if here.exists() else model), twenty
    yield "digits", "mini-glyph", load_images(digits / "train.parquet")


def noisy(name: str, images, shared: Path, rows, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """Kind and labels of every noisy version of some rows."""
    truth = images.given_labels[rows]
    if name == "cifar10":
        for column in HUMAN:
            path = shared / "data/cifar10n_train.parquet"
            yield (
                column.replace("label_", "human "),
                load_images(path, label_column=column).given_labels[rows],
            )
    for kind, rate in SYNTHETIC:
        made = inject_noise(truth, len(images.class_names), kind=kind, rate=rate, random_state=seed)
        yield f"{kind} {rate}", made.labels


def measure(backbone, features, images, labels, truth, seed: int) -> dict:
    """One cell: what is said of every label, what is true, and the self-check."""
    given = images.with_labels(labels)
    detector = DETECTORS.get("latent-label")(backbone, random_state=seed).fit(features, given)
    fresh = DETECTORS.get("latent-label")(backbone, random_state=seed)
    check = self_check(fresh, features, given, detector.noise_matrix_, rate=0.1, random_state=seed)
    return {
        "p_clean": detector.p_clean_,
        "flagged": detector.is_label_issue_,
        "wrong": labels != truth,
        "self_check": check["recall"],
    }


def run(args) -> list[Kept]:
    """All cells; those that are there are not run again."""
    sets = list(grounds(args.shared, args.work, args.models))
    kept = []
    for seed in range(args.seeds):
        for name, model, images in sets:
            backbone = load_backbone(model)
            found = extract_features(images, backbone, cache=FeatureCache(), show=False)
            rows = np.sort(np.random.default_rng(seed).permutation(len(images))[:N_ROWS])
            part, truth = images.subset(rows), images.given_labels[rows]
            for noise, labels in noisy(name, images, args.shared, rows, seed):
                key = (name, Path(model).name, noise, seed)
                path = args.work / f"{' '.join(map(str, key)).replace(' ', '_')}.npz"
                if not path.exists():
                    cell = measure(backbone, found.features[rows], part, labels, truth, seed)
                    with atomic_path(path) as partial, partial.open("wb") as file:
                        np.savez_compressed(file, **cell)
                kept.append(Kept(*key, dict(np.load(path))))
    return kept


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="images and models")
    parser.add_argument("--work", type=Path, default=Path("build/honesty"), help="finished cells")
    names = "names in SHARED/models, or directories"
    parser.add_argument(
        "--models", nargs="+", default=["mini-vlm-photo", "mini-vlm-tin"], help=names
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/results/honesty.md"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    models = " ".join(Path(model).name for model in args.models)
    command = f"python benchmarks/honesty.py --models {models} --seeds {args.seeds}"
    write(run(args), args.out, command, N_ROWS)


if __name__ == "__main__":
    main()
