"""Which detector should `scan` use? Every detector and cleanlab, side by side in one run.

    python benchmarks/default_detector.py --shared ../shared -o docs/results/default-detector

Real human noise (three label sets of CIFAR-10N) and injected symmetric and pair-flip noise, on
frozen features of a small photo model. cleanlab gets 5-fold out-of-sample probabilities of a
logistic regression on the same features. True labels are read here, for scoring, and nowhere else.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import pandas as pd

from labelsieve import load_backbone, load_images
from labelsieve.backbones import FeatureCache, extract_features
from labelsieve.bench.metrics import detection_metrics, expected_calibration_error
from labelsieve.data import inject_noise
from labelsieve.detectors import DETECTORS

HUMAN = ("label_aggre", "label_random1", "label_worse")
SYNTHETIC = (("symmetric", 0.2), ("symmetric", 0.4), ("symmetric", 0.6), ("pair-flip", 0.3))


def cases(shared: Path, seeds: int):
    """Yield (name, seed, images, truth) for every noisy label set."""
    table = shared / "data" / "cifar10n_train.parquet"
    clean = load_images(table, label_column="label")
    for column in HUMAN:
        images = load_images(table, label_column=column)
        for seed in range(seeds):
            yield column.replace("label_", "human "), seed, images, clean.given_labels
    for kind, rate in SYNTHETIC:
        for seed in range(seeds):
            noisy = inject_noise(
                clean.given_labels, 10, kind=kind, rate=rate, random_state=seed
            ).labels
            yield f"{kind} {rate}", seed, clean.with_labels(noisy), clean.given_labels


def cleanlab_probabilities(features, labels, seed):
    """5-fold out-of-sample probabilities of scikit-learn's logistic regression."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    folds = StratifiedKFold(5, shuffle=True, random_state=seed)
    probe = LogisticRegression(max_iter=1000)
    return cross_val_predict(probe, features, labels, cv=folds, method="predict_proba")


def run_cleanlab(features, labels, seed):
    """The label quality and the flags of cleanlab's default filter."""
    from cleanlab.filter import find_label_issues
    from cleanlab.rank import get_label_quality_scores

    p = cleanlab_probabilities(features, labels, seed)
    return get_label_quality_scores(labels, p), find_label_issues(labels, p, n_jobs=1), None


def run_detector(name, backbone, features, images, seed):
    """Scores, flags and clean probabilities of one of our detectors."""
    detector = DETECTORS.get(name)(backbone)
    if "random_state" in detector.get_params():
        detector.set_params(random_state=seed)
    detector.fit(features, images)
    return detector.label_score_, detector.is_label_issue_, detector.p_clean_


def measure(args) -> list[dict]:
    """One record a case, seed and method."""
    records = []
    for model in args.models:
        backbone = load_backbone(str(args.shared / "models" / model))
        features = None
        for case, seed, images, truth in cases(args.shared, args.seeds):
            if features is None:
                features = extract_features(images, backbone, cache=FeatureCache())
            wrong = images.given_labels != truth
            for method in ("cleanlab", *args.detectors):
                started = time.perf_counter()
                if method == "cleanlab":
                    found = run_cleanlab(features.features, images.given_labels, seed)
                else:
                    found = run_detector(method, backbone, features, images, seed)
                seconds = time.perf_counter() - started
                score, flagged, p_clean = found
                record = {"model": model, "case": case, "seed": seed, "method": method}
                record |= detection_metrics(score, flagged, wrong)
                record["seconds"] = round(seconds, 2)
                record["true_rate"] = float(wrong.mean())
                if p_clean is not None and np.isfinite(p_clean).all():
                    record["estimated_rate"] = float(1 - p_clean.mean())
                    record["calibration_error"] = expected_calibration_error(p_clean, ~wrong)
                records.append(record)
                write(args, records)
                print(
                    f"{model} {case} seed {seed} {method}: "
                    f"AP {record['average_precision']:.4f} F1 {record['f1']:.4f} "
                    f"rate {record.get('estimated_rate', float('nan')):.3f} {seconds:.1f} s",
                    flush=True,
                )
    return records


def markdown(records: list[dict], command: str) -> str:
    """Tables of mean and standard deviation over seeds, one a model and figure."""
    table = pd.DataFrame(records)
    n_seeds = table["seed"].nunique()
    average = f"Mean over {n_seeds} seeds ± standard deviation" if n_seeds > 1 else "One seed"
    lines = [
        "# Which detector is the default of `scan`?",
        "",
        f"Command: `{command}`. {average}; "
        "a seed decides injected noise, folds and training; human labels are the same for all "
        "seeds. 12,500 CIFAR-10 training images. cleanlab: 5-fold out-of-sample logistic "
        "regression on the same features, default filter and default score.",
        "",
    ]
    titles = {
        "average_precision": "Average precision of ranking by label score",
        "f1": "F1 of the flagged labels",
        "estimated_rate": "Estimated noise rate (detectors that give clean probabilities)",
        "calibration_error": "Expected calibration error of p_clean",
        "seconds": "Seconds (features cached)",
    }
    for model, of_model in table.groupby("model", sort=False):
        lines += [f"## {model}", ""]
        for column, title in titles.items():
            if column not in of_model:
                continue
            grouped = of_model.groupby(["case", "method"], sort=False)[column]
            if grouped.count().sum() == 0:
                continue
            mean, spread = grouped.mean().unstack(), grouped.std(ddof=0).unstack()
            rate = of_model.groupby("case", sort=False)["true_rate"].mean()
            lines += [f"### {title}", "", "| labels | wrong | " + " | ".join(mean.columns) + " |"]
            lines += ["|---" * (len(mean.columns) + 2) + "|"]
            for case in mean.index:
                cells = [
                    "–" if np.isnan(m) else f"{m:.3f}" + (f" ± {s:.3f}" if n_seeds > 1 else "")
                    for m, s in zip(mean.loc[case], spread.loc[case], strict=True)
                ]
                lines.append(f"| {case} | {rate[case]:.3f} | " + " | ".join(cells) + " |")
            lines.append("")
    return "\n".join(lines)


def write(args, records: list[dict]) -> None:
    """The records and the tables of what is measured so far."""
    args.out.parent.mkdir(parents=True, exist_ok=True)
    command = f"python benchmarks/default_detector.py --seeds {args.seeds}"
    command += f" --models {' '.join(args.models)} --detectors {' '.join(args.detectors)}"
    args.out.with_suffix(".json").write_text(json.dumps(records, indent=1) + "\n")
    args.out.with_suffix(".md").write_text(markdown(records, command) + "\n")


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--models", nargs="+", default=["mini-vlm-photo", "mini-vlm-tin"])
    parser.add_argument("--detectors", nargs="+", default=DETECTORS.names())
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/results/default-detector"))
    args = parser.parse_args()
    measure(args)


if __name__ == "__main__":
    main()
