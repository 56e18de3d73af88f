"""The demo: flip labels of real handwritten digits, find them, and say honestly how well."""

from __future__ import annotations

import io
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

from ..backbones import AbstractBackbone, FeatureCache, extract_features, load_backbone
from ..core.progress import progress
from ..core.random import RandomState
from ..core.serialization import atomic_path, write_json
from ..data import LabeledImages, load_images, stratified_split, write_noisy
from ..detectors import DETECTORS
from ..sieve import LabelSieve, scan
from ..tuners import TUNERS, AbstractTuner
from .evaluate import evaluate
from .metrics import detection_metrics

MODEL = "mini-glyph"
NAMES = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
TEST_SHARE = 0.4


def write_digits(out: Path, random_state: RandomState) -> tuple[Path, Path]:
    """Write scikit-learn's 1,797 handwritten digits as a training and a test data set.

    Parameters
    ----------
    out : Path
        Folder for train.parquet, test.parquet and classes.json.
    random_state : int or Generator
        Decides the split.

    Returns
    -------
    tuple of Path
        The two parquet files, with columns id, image and label.
    """
    from sklearn.datasets import load_digits

    pixels, target = load_digits(return_X_y=True)
    pixels, target = np.asarray(pixels), np.asarray(target)
    train, test = stratified_split(target, 1 - TEST_SHARE, random_state)
    out.mkdir(parents=True, exist_ok=True)
    write_json(out / "classes.json", list(NAMES))
    paths = []
    for name, rows in (("train", train), ("test", test)):
        rows = np.sort(rows)
        table = pd.DataFrame(
            {
                "id": [f"digit-{row:04d}" for row in rows],
                "image": [
                    {"bytes": _png(pixels[row].reshape(8, 8)), "path": f"digit-{row:04d}.png"}
                    for row in rows
                ],
                "label": [NAMES[target[row]] for row in rows],
            }
        )
        with atomic_path(out / f"{name}.parquet") as partial:
            table.to_parquet(partial, index=False)
        paths.append(out / f"{name}.parquet")
    return paths[0], paths[1]


def _png(pixels: np.ndarray) -> bytes:
    """An 8x8 digit (0 to 16, white strokes on black) as a PNG of grey values 0 to 255."""
    buffer = io.BytesIO()
    Image.fromarray(np.rint(pixels * 255 / 16).astype(np.uint8)).save(buffer, format="PNG")
    return buffer.getvalue()


def run_demo(
    out: Path | str,
    *,
    noise: float = 0.3,
    random_state: int = 0,
    finish: Callable[[Path, LabeledImages], Any] | None = None,
) -> dict[str, Any]:
    """Run the demo and write its data, its scan and `results.json`.

    Parameters
    ----------
    out : Path or str
        Folder; what an earlier demo left there is replaced.
    noise : float
        Share of training labels that are flipped, symmetrically and exactly.
    random_state : int
        Decides split, flips and training.
    finish : callable, optional
        Given to `scan`, for the report.

    Returns
    -------
    dict
        ``detectors`` and ``classifiers``, one record each, and what was run.
    """
    out = Path(out)
    started = time.perf_counter()
    train_path, test_path = write_digits(out / "digits", random_state)
    write_noisy(
        load_images(train_path),
        out / "noisy",
        kind="symmetric",
        rate=noise,
        random_state=random_state,
        force=True,
    )
    train, test = load_images(out / "noisy"), load_images(test_path)
    backbone = load_backbone(MODEL)
    features = extract_features(train, backbone, cache=FeatureCache())
    is_wrong = _truth(out / "noisy") != np.array(train.class_names, object)[train.given_labels]

    detectors = []
    for name in progress(DETECTORS.names(), desc="detectors", unit="detector"):
        begin = time.perf_counter()
        found = _build(DETECTORS.get(name), backbone, random_state).fit(features, train)
        metrics = detection_metrics(found.label_score_, found.is_label_issue_, is_wrong)
        detectors.append(
            {"detector": name} | metrics | {"seconds": round(time.perf_counter() - begin, 2)}
        )
    sieve = LabelSieve(backbone, random_state=random_state)
    source = {"source": str((out / "noisy").resolve())}
    scan(
        train,
        out / "scan",
        sieve,
        source=source,
        force=True,
        finish=finish,
        command="labelsieve demo",
    )
    classifiers = _compare_classifiers(sieve, backbone, features, train, test, random_state)
    result = {
        "data": "scikit-learn load_digits (real handwritten digits, 8x8)",
        "model": backbone.model_id,
        "n_train": len(train),
        "n_test": len(test),
        "n_flipped": int(is_wrong.sum()),
        "noise": noise,
        "seed": random_state,
        "default_detector": sieve.detector,
        "detectors": detectors,
        "classifiers": classifiers,
        "seconds": round(time.perf_counter() - started, 1),
    }
    write_json(out / "results.json", result)
    return result


def _truth(noisy: Path) -> np.ndarray:
    """Labels before the flips; read here for scoring and nowhere else."""
    table = pd.read_parquet(noisy / "metadata.parquet", columns=["label_before_noise"])
    return table["label_before_noise"].to_numpy(dtype=object)


def _build(cls: Any, backbone: AbstractBackbone, random_state: int, **params: Any) -> Any:
    estimator = cls(backbone, **params)
    if "random_state" in estimator.get_params(deep=False):
        estimator.set_params(random_state=random_state)
    return estimator


def _compare_classifiers(
    sieve: LabelSieve,
    backbone: AbstractBackbone,
    features: Any,
    train: LabeledImages,
    test: LabeledImages,
    random_state: int,
) -> list[dict[str, Any]]:
    """Test accuracy of classifiers on all noisy labels, and on the labels that the sieve keeps."""
    coop, kept = TUNERS.get("coop"), train.with_labels(sieve.kept_labels_)
    entries: list[tuple[str, AbstractTuner, LabeledImages]] = [
        ("zero-shot", TUNERS.get("zero-shot")(backbone), train),
        ("coop, ce, all labels", _build(coop, backbone, random_state, loss="ce"), train),
        ("coop, dspt, all labels", _build(coop, backbone, random_state, loss="dspt"), train),
        ("coop, ce, sieved labels", _build(coop, backbone, random_state, loss="ce"), kept),
        ("coop, dspt, sieved labels", _build(coop, backbone, random_state, loss="dspt"), kept),
    ]
    rows = []
    for name, tuner, images in entries:
        tuner.fit(features, images)
        metrics = evaluate(tuner, test)
        used = int(((images.given_labels >= 0) & features.ok).sum()) if name != "zero-shot" else 0
        rows.append({"classifier": name, "n_labels": used, "test_accuracy": metrics["accuracy"]})
    return rows


def tables(result: dict[str, Any]) -> list[Any]:
    """The two tables of the demo, for a rich console."""
    from rich.table import Table

    found = Table(
        title=f"{result['n_flipped']} of {result['n_train']} labels were flipped; who finds them?",
        title_justify="left",
        caption=f"one run, seed {result['seed']}; model {result['model']}; * default of scan",
        caption_justify="left",
    )
    for column in ("detector", "precision", "recall", "F1", "avg. precision", "seconds"):
        found.add_column(column, justify="left" if column == "detector" else "right")
    for row in result["detectors"]:
        mark = " *" if row["detector"] == result["default_detector"] else ""
        figures = (row[k] for k in ("precision", "recall", "f1", "average_precision"))
        found.add_row(
            row["detector"] + mark,
            *("-" if x is None else f"{x:.3f}" for x in figures),
            f"{row['seconds']:.1f}",
        )
    accuracy = Table(
        title=f"accuracy on {result['n_test']} test images with true labels",
        title_justify="left",
        caption="last epoch, one seed; these digits were looked at in development",
        caption_justify="left",
    )
    for column in ("classifier", "labels used", "test accuracy"):
        accuracy.add_column(column, justify="left" if column == "classifier" else "right")
    for row in result["classifiers"]:
        accuracy.add_row(row["classifier"], f"{row['n_labels']:,}", f"{row['test_accuracy']:.3f}")
    return [found, accuracy]
