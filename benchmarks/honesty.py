"""Do the estimates of a scan keep their word?

    python benchmarks/honesty.py --shared ../shared

For each data set, kind of noise and seed: the estimated noise rate with its interval, the expected
precision and recall of the flags and of the first rows of the list, and a self-check, each beside
what the true labels say. Finished cells are kept, so it can be stopped. True labels are read here,
for scoring, and nowhere else.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.special import logit

from labelsieve import load_backbone, load_images
from labelsieve.backbones import FeatureCache, extract_features
from labelsieve.bench.demo import write_digits
from labelsieve.data import inject_noise
from labelsieve.detectors import DETECTORS
from labelsieve.sieve.cuts import budget_figures
from labelsieve.sieve.estimates import ErrorEstimate, estimate_errors, expected, noise_rate
from labelsieve.sieve.self_check import self_check

SYNTHETIC = [("symmetric", r) for r in (0.1, 0.2, 0.4, 0.6)] + [
    ("pair-flip", r) for r in (0.1, 0.3)
]
HUMAN = ("label_aggre", "label_random1", "label_worse")
N_ROWS = 3000
BUDGET = 200


def grounds(shared: Path, work: Path) -> Iterator[tuple[str, str, object]]:
    """Name, model and images (with their true labels) of every data set."""
    cifar = load_images(shared / "data/cifar10n_train.parquet", label_column="label")
    tiny = load_images(shared / "data/tinyimagenet_train.parquet", label_column="label")
    twenty = tiny.subset(np.flatnonzero(tiny.given_labels < 20))
    twenty = twenty.with_labels(twenty.given_labels, tiny.class_names[:20])
    digits = work / "digits"
    if not digits.exists():
        write_digits(digits, random_state=0)
    for model in ("mini-vlm-photo", "mini-vlm-tin"):
        yield "cifar10", str(shared / "models" / model), cifar
        yield "tiny-imagenet 20", str(shared / "models" / model), twenty
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
    """One cell: what was said, and what is true."""
    given = images.with_labels(labels)
    detector = DETECTORS.get("latent-label")(backbone, random_state=seed).fit(features, given)
    wrong, flagged = labels != truth, detector.is_label_issue_
    found = estimate_errors(detector)
    said = expected(found)
    first = budget_figures(detector, BUDGET)
    fresh = DETECTORS.get("latent-label")(backbone, random_state=seed)
    check = self_check(fresh, features, given, detector.noise_matrix_, rate=0.1, random_state=seed)
    return {
        "n": len(truth),
        "true_rate": float(wrong.mean()),
        "rate": noise_rate(found)["estimate"],
        "precision_said": said["precision"],
        "precision": float(wrong[flagged].mean()) if flagged.any() else None,
        "recall_said": said["recall"],
        "recall": float(flagged[wrong].mean()) if wrong.any() else None,
        "budget_said": first["errors"],
        "budget": int(wrong[first["rows"]].sum()),
        "self_check_recall": check["recall"],
    }


def run(args, kept: Path) -> pd.DataFrame:
    """All cells; those in the file are not run again."""
    records = [json.loads(line) for line in kept.read_text().splitlines()] if kept.exists() else []
    done = {(r["data"], r["model"], r["noise"], r["seed"]) for r in records}
    for name, model, images in grounds(args.shared, args.work):
        backbone = load_backbone(model)
        everything = extract_features(images, backbone, cache=FeatureCache(), show=False).features
        for seed in range(args.seeds):
            rows = np.sort(np.random.default_rng(seed).permutation(len(images))[:N_ROWS])
            part = images.subset(rows)
            for kind, labels in noisy(name, images, args.shared, rows, seed):
                key = {"data": name, "model": Path(model).name, "noise": kind, "seed": seed}
                if tuple(key.values()) in done:
                    continue
                truth = images.given_labels[rows]
                cell = measure(backbone, everything[rows], part, labels, truth, seed)
                records.append(key | cell)
                with kept.open("a") as file:
                    file.write(json.dumps(records[-1]) + "\n")
    return pd.DataFrame(records)


def interval(cell: pd.Series) -> list[float]:
    """The interval of a scan that nobody has reviewed; it follows from rate and rows alone."""
    n, spread = int(cell["n"]), DETECTORS.get("latent-label").rate_logit_sd
    nobody = np.zeros(n, dtype=bool)
    found = ErrorEstimate(np.full(n, cell["rate"]), nobody, nobody, True, {}, spread)
    return noise_rate(found)["interval"]


def spread_of_rates(table: pd.DataFrame) -> float:
    """Standard deviation (about 0) of the log-odds of the rate; label sets weigh the same."""
    error = logit(table["rate"]) - logit(table["true_rate"])
    sets = error.pow(2).groupby([table["data"], table["model"], table["noise"]]).mean()
    return float(np.sqrt(sets.mean()))


def write(table: pd.DataFrame, path: Path, command: str) -> None:
    """The table by label set, and the coverage."""
    low, high = zip(*(interval(cell) for _, cell in table.iterrows()), strict=True)
    covered = table["true_rate"].between(pd.Series(low), pd.Series(high))
    table = table.assign(covered=covered, low=low, high=high)
    human = table["noise"].str.startswith("human")
    by_set = table.groupby(["data", "model", "noise"], sort=False)
    lines = [
        "# Do the estimates of a scan keep their word?",
        "",
        f"Command: `{command}`. Detector latent-label on up to {N_ROWS:,} rows, "
        f"{table['seed'].nunique()} seeds (a seed draws the rows, the injected noise and the "
        "folds), means over seeds. The interval is stated to hold in 90 % of cases; `covered` "
        f"counts seeds. `first {BUDGET}`: errors among the {BUDGET} worst labels. `self-check`: "
        "share found of a tenth of the labels, flipped along the estimated noise matrix.",
        "",
        f"- The interval covered the true rate in {int(covered.sum())} of {len(table)} cells; "
        f"human noise alone: {int(covered[human].sum())} of {int(human.sum())}.",
        f"- Log-odds of the estimated rate were off by {spread_of_rates(table):.3f} (root mean "
        "square over label sets); the interval of the detector uses "
        f"{DETECTORS.get('latent-label').rate_logit_sd}, taken from this table: its coverage is "
        "that on the sets it was measured on. On other data it may be worse.",
        f"- Errors among the first {BUDGET}: {table['budget_said'].mean():.0f} promised, "
        f"{table['budget'].mean():.0f} there. Precision of the flags: "
        f"{table['precision_said'].mean():.2f} promised, {table['precision'].mean():.2f} true.",
        f"- On human labels a self-check finds {table['self_check_recall'][human].mean():.2f} of "
        f"its flips; of the errors that people made, {table['recall'][human].mean():.2f} are "
        "flagged.",
        "",
        "| data | model | noise | true rate | estimate | interval | covered "
        "| precision said / true | recall said / true "
        f"| first {BUDGET} said / true | self-check |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for (data, model, noise), cells in by_set:
        m = cells.mean(numeric_only=True)
        lines.append(
            f"| {data} | {model} | {noise} | {m['true_rate']:.3f} | {m['rate']:.3f} | "
            f"{m['low']:.3f} to {m['high']:.3f} | {int(cells['covered'].sum())} of {len(cells)} | "
            f"{m['precision_said']:.2f} / {m['precision']:.2f} | {m['recall_said']:.2f} / "
            f"{m['recall']:.2f} | {m['budget_said']:.0f} / {m['budget']:.0f} | "
            f"{m['self_check_recall']:.2f} |"
        )
    path.write_text("\n".join(lines) + "\n")


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"), help="images and models")
    parser.add_argument("--work", type=Path, default=Path("build/honesty"), help="finished cells")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/results/honesty.md"))
    args = parser.parse_args()
    args.work.mkdir(parents=True, exist_ok=True)
    table = run(args, args.work / "cells.jsonl")
    write(table, args.out, f"python benchmarks/honesty.py --seeds {args.seeds}")


if __name__ == "__main__":
    main()
