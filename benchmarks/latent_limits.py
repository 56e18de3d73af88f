"""Why the default detector underestimates human noise, and how much better it could get.

    python benchmarks/latent_limits.py --shared ../shared -o docs/results/latent-limits

The fitted model is taken apart: its class probabilities q(true | image) are kept, or sharpened, or
replaced by those of a classifier of true labels, and its noise matrix is kept, fitted again or
replaced by the true one. The likelihood of the given labels stands beside each, because it is all
that a method may use. True labels are read here, to explain; nothing of it is a method.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_predict

from labelsieve import load_backbone, load_images
from labelsieve.backbones import FeatureCache, extract_features
from labelsieve.bench.metrics import detection_metrics
from labelsieve.prompts import resolve_templates, zero_shot_classifier
from labelsieve.selection.latent_labels import fit_latent_labels, largest_expected_f1

HUMAN = ("label_aggre", "label_random1", "label_worse")
SHARPER = 1.2
EM_STEPS = 60


def matrix_of(posterior, labels, k):
    """Rows of P(given | true) from a posterior (N, K) of the true label."""
    counts = np.full((k, k), 1e-3)
    np.add.at(counts, labels, posterior)
    return counts.T / counts.sum(axis=0)[:, None]


def judge(log_q, matrix, labels):
    """Clean probability of every label, and the mean log-likelihood of the given labels."""
    joint = np.exp(log_q) * matrix.T[labels]
    total = joint.sum(axis=1, keepdims=True)
    return (joint / total)[np.arange(len(labels)), labels], joint / total, np.log(total).mean()


def refit(log_q, matrix, labels):
    """Expectation-maximisation of the noise matrix alone."""
    for _ in range(EM_STEPS):
        matrix = matrix_of(judge(log_q, matrix, labels)[1], labels, len(matrix))
    return matrix


def variants(found, labels, truth, oracle):
    """Yield (name, log q, noise matrix)."""
    k = len(found.noise_matrix)
    # p(true | image, given) = q T / sum: with one fit, q comes back exactly.
    raw = np.log(found.posterior + 1e-30) - np.log(found.noise_matrix.T[labels] + 1e-30)
    log_q, sharp = log_softmax(raw, axis=1), log_softmax(SHARPER * raw, axis=1)
    true = matrix_of(np.eye(k)[truth], labels, k)
    yield "as fitted", log_q, found.noise_matrix
    yield (
        f"q sharper by {SHARPER}, noise matrix fitted again",
        sharp,
        refit(sharp, found.noise_matrix, labels),
    )
    yield "q as fitted, true noise matrix", log_q, true
    yield f"q sharper by {SHARPER}, true noise matrix", sharp, true
    yield "q of a classifier of true labels, true noise matrix", oracle, true


def measure(shared: Path, model: str, seeds: int):
    """After each seed, yield a record for each label set, seed and variant so far."""
    table, records = shared / "data" / "cifar10n_train.parquet", []
    backbone = load_backbone(str(shared / "models" / model))
    clean = load_images(table, label_column="label")
    features = extract_features(clean, backbone, cache=FeatureCache()).features
    truth = clean.given_labels
    classifier = zero_shot_classifier(backbone, clean.class_names, resolve_templates("default"))
    zero_shot = classifier.logits(torch.as_tensor(features)).numpy()
    for seed in range(seeds):
        folds = StratifiedKFold(5, shuffle=True, random_state=seed)
        probe = LogisticRegression(max_iter=300, tol=1e-3)
        both = np.concatenate([features / features.std(), zero_shot / zero_shot.std()], axis=1)
        p = cross_val_predict(probe, both, truth, cv=folds, method="predict_proba")
        oracle = np.log(p + 1e-30)
        for column in HUMAN:
            labels = load_images(table, label_column=column).given_labels
            found = fit_latent_labels(features, labels, zero_shot, n_repeats=1, random_state=seed)
            for name, log_q, matrix in variants(found, labels, truth, oracle):
                p_clean, _, likelihood = judge(log_q, matrix, labels)
                wrong = labels != truth
                merits = detection_metrics(p_clean, largest_expected_f1(p_clean), wrong)
                records.append(
                    {
                        "labels": column.replace("label_", "human "),
                        "model": name,
                        "accuracy of q": (log_q.argmax(axis=1) == truth).mean(),
                        "log-likelihood of given labels": likelihood,
                        "true noise rate": wrong.mean(),
                        "estimated": 1 - p_clean.mean(),
                        "average precision": merits["average_precision"],
                        "F1": merits["f1"],
                    }
                )
        yield records


def markdown(records: list[dict], command: str, seeds: int) -> str:
    """The table, mean ± standard deviation over seeds."""
    groups = pd.DataFrame(records).groupby(["labels", "model"], sort=False)
    mean, spread = groups.mean(), groups.std(ddof=1)
    names = ["labels", "model", *mean.columns]
    lines = [
        "# What limits the default detector on human noise",
        "",
        f"Command: `{command}`. Seeds (folds): {seeds}; mean ± standard deviation. 12,500 CIFAR-10 "
        "training images, one fit (`n_repeats=1`). True labels are used here to explain; no row "
        "but the first is a method.",
        "",
        "| " + " | ".join(names) + " |",
        "|:--|:--" + "|--:" * len(mean.columns) + "|",
    ]
    for key in mean.index:
        cells = [
            f"{mean.at[key, c]:.3f}" + (f" ± {spread.at[key, c]:.3f}" if seeds > 1 else "")
            for c in mean.columns
        ]
        lines.append("| " + " | ".join([*key, *cells]) + " |")
    lines += [
        "",
        "How to read it: where a row with the true noise matrix has a *lower* likelihood of the "
        "given labels than the fitted row, no choice by that likelihood can find the true noise "
        "rate: people err on images that look like the other class, and doubt of the model "
        "explains such labels as well as noise does. The last row is about what these features "
        "allow.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--model", default="mini-vlm-photo")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/results/latent-limits"))
    args = parser.parse_args()
    for done, records in enumerate(measure(args.shared, args.model, args.seeds), start=1):
        command = f"python benchmarks/latent_limits.py --model {args.model} --seeds {done}"
        args.out.with_suffix(".md").write_text(markdown(records, command, done))


if __name__ == "__main__":
    main()
