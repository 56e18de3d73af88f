"""Prompt tuning under label noise: every method on one ground, few shots and many images.

    python benchmarks/prompt_study.py tin-cifar10 --regimes few --jobs 2
    python benchmarks/prompt_study.py photo-tiny-imagenet --classes 2 10 50 200
    python benchmarks/prompt_study_page.py

Features are computed once; all cells of a process share them and the loaded model. Every method
has the same rule for its learning rate: of four multiples of its default the one with the best
accuracy on held-out given labels, in two draws that are not measured; once for clean labels, once
for few wrong ones (a quarter, symmetric) and once for many (half). The last epoch is scored. True
labels draw the shots, inject the noise and score; no method sees them. Finished cells are kept, so
the same command continues an interrupted run.
"""

from __future__ import annotations

import argparse
import json
import logging
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from prompt_grounds import GROUNDS, Ground

from labelsieve.core.exceptions import LabelSieveError
from labelsieve.data import inject_noise
from labelsieve.data.splits import few_shot
from labelsieve.losses import LOSSES
from labelsieve.tuners import TUNERS
from labelsieve.tuners.text_encoder_tuning import LR_FACTOR
from labelsieve.tuners.training import default_plan

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "zero-shot": ("zero-shot", {}),
    "robust-upl": ("robust-upl", {}),
    **{f"coop {loss}": ("coop", {"loss": loss}) for loss in LOSSES.names()},
    "nlprompt": ("nlprompt", {}),
    "classifier-r": ("classifier-r", {}),
    "classifier-c": ("classifier-c", {}),
    "tenc-ft": ("tenc-ft", {}),
    "tip-adapter": ("tip-adapter", {}),
    "posterior": ("posterior", {}),
}
UNLABELLED = ("zero-shot", "robust-upl")
UNTRAINED = ("zero-shot", "tip-adapter")
RATES = (0.125, 0.25, 0.5, 0.7)
FACTORS = (1 / 32, 1 / 4, 2, 16)
CLEAN, FEW_WRONG, MANY_WRONG = CHOSEN_ON = ("none", "symmetric 0.25", "symmetric 0.5")
CHOOSING_SEEDS = (100, 101)
SHOTS, N_ROWS = 16, 2000
PLANS = {"few": {"epochs": 30, "batch_size": 32}, "all": {"epochs": 8, "batch_size": 64}}
STEPS, PLAIN_BATCH = 100, 32


@dataclass(frozen=True)
class Cell:
    """One fit; `held_out` cells are scored on given labels, the others on true test labels."""

    regime: str
    noise: str
    seed: int
    method: str
    factor: float
    held_out: bool = False


def draw(ground: Ground, cell: Cell) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rows (N,), their given labels (N,), and which of them are trained on (N,)."""
    generator = np.random.default_rng([cell.seed, len(cell.regime)])
    if cell.regime == "all":
        rows = generator.permutation(len(ground.truth))[:N_ROWS]
        trained = np.arange(len(rows)) < (0.8 if cell.held_out else 1) * len(rows)
    else:
        order = few_shot(ground.truth, SHOTS * (2 if cell.held_out else 1), generator)
        order = generator.permutation(order)
        first = few_shot(ground.truth[order], SHOTS, generator)
        rows, trained = order, np.isin(np.arange(len(order)), first)
    kind, _, rate = cell.noise.partition(" ")
    if kind == "human":
        return rows, ground.human[cell.noise][rows], trained
    given = ground.truth[rows].copy()
    for part in (trained, ~trained):
        if kind != "none" and part.any():
            given[part] = inject_noise(
                given[part], len(ground.class_names), kind=kind, rate=float(rate),
                random_state=generator,
            ).labels  # fmt: skip
    return rows, given, trained


def fit(ground: Ground, method: str, features: Any, labels: Any, seed: int, **given: Any) -> Any:
    """A fitted tuner."""
    name, params = METHODS[method]
    tuner = TUNERS.get(name)(ground.backbone, class_names=ground.class_names, **params)
    known = tuner.get_params(deep=False)
    tuner.set_params(**{k: v for k, v in {**given, "random_state": seed}.items() if k in known})
    return tuner.fit(features, labels)


def default_lr(ground: Ground, method: str) -> float:
    """The rate that a tuner has unless told otherwise."""
    lr = default_plan(1, ground.backbone.logit_scale, few_shot=True).lr
    return lr * (LR_FACTOR if method == "tenc-ft" else 1)


def measure(ground: Ground, cell: Cell) -> dict[str, Any]:
    """Fit a cell and score it."""
    started = time.process_time()
    rows, given, trained = draw(ground, cell)
    labels, features = given[trained], ground.train[rows[trained]]
    if cell.method in UNLABELLED:
        features, labels = ground.train, np.zeros(len(ground.train), dtype=int)
        if cell.held_out:  # what is scored was not seen, not even without its label
            features = np.delete(features, rows[~trained], axis=0)
            labels = labels[: len(features)]
    lr = cell.factor * default_lr(ground, cell.method)
    try:
        tuner = fit(ground, cell.method, features, labels, cell.seed, lr=lr, **PLANS[cell.regime])
    except LabelSieveError:  # diverged
        if not cell.held_out:
            raise
        score = np.zeros(1)
    else:
        if cell.held_out:
            score = tuner.predict(ground.train[rows[~trained]]) == given[~trained]
        else:
            score = tuner.predict(ground.test) == ground.test_truth
    return asdict(cell) | {
        "rate": round(float((given[trained] != ground.truth[rows[trained]]).mean()), 4),
        "rows": len(features),
        "lr": lr,
        "accuracy": round(float(score.mean()), 5),
        "cpu_seconds": round(time.process_time() - started, 3),
    }


def noises(ground: Ground) -> list[str]:
    """All kinds of labels of a ground."""
    injected = [f"{kind} {rate:g}" for kind in ("symmetric", "pair-flip") for rate in RATES]
    return ["none", *injected, *ground.human]


def choosing(methods: list[str], regime: str, noise: list[str]) -> list[Cell]:
    """The cells by which learning rates are chosen for some kinds of labels."""
    needed = [kind for kind in CHOSEN_ON if kind in map(like, noise)]
    return [
        Cell(regime, kind, seed, method, factor, held_out=True)
        for seed in CHOOSING_SEEDS
        for method in methods
        if method not in UNTRAINED
        for factor in FACTORS
        for kind in (CHOSEN_ON[:1] if method in UNLABELLED else needed)
    ]


def like(noise: str) -> str:
    """The labels on which the learning rate for a kind of labels is chosen."""
    if noise == CLEAN:
        return CLEAN
    few = noise.endswith(("0.125", "0.25", "aggre", "random1"))
    return FEW_WRONG if few else MANY_WRONG


def chosen(records: list[dict[str, Any]], regime: str) -> dict[tuple[str, str], float]:
    """The factor of each method for each of `CHOSEN_ON`; of equally good ones the smaller."""
    table = pd.DataFrame([r for r in records if r.get("held_out") and r["regime"] == regime])
    if table.empty:
        return {}
    mean = table.groupby(["method", "noise", "factor"], as_index=False)["accuracy"].mean()
    best = mean.sort_values(["accuracy", "factor"], ascending=[False, True])
    return best.groupby(["method", "noise"])["factor"].first().to_dict()


def measured(
    methods: list[str], regime: str, noise: list[str], seeds: int, factors: dict[Any, float]
) -> list[Cell]:
    """The cells of the tables, seed by seed; without labels, one kind of them is enough."""
    return [
        Cell(regime, kind, seed, method, factors.get((method, like(kind)), 1.0))
        for seed in range(1, seeds + 1)
        for method in methods
        for kind in (["none"] if method in UNLABELLED else noise)
    ]


class Keeper:
    """The records of a ground, a line each; what is there is not run again."""

    def __init__(self, path: Path, ground: str, shared: Path, jobs: int):
        self.path, self.ground, self.shared, self.jobs = path, ground, shared, jobs
        lines = path.read_text().splitlines() if path.exists() else []
        self.records = [json.loads(line) for line in lines]

    def run(self, cells: list[Cell]) -> None:
        """Measure what is missing."""
        names = list(Cell.__dataclass_fields__)
        done = {tuple(r[name] for name in names) for r in self.records if "regime" in r}
        missing = [c for c in cells if tuple(asdict(c).values()) not in done]
        for at, record in enumerate(self._results(missing), start=1):
            self.add(record)
            print(f"{at}/{len(missing)} {json.dumps(record)}", flush=True)

    def _results(self, cells: list[Cell]) -> Iterator[dict[str, Any]]:
        if self.jobs == 1:
            _load(self.ground, self.shared)
            yield from map(_measure, cells)
            return
        with ProcessPoolExecutor(self.jobs, initializer=_load, initargs=self._source()) as pool:
            yield from pool.map(_measure, cells)

    def _source(self) -> tuple[str, Path]:
        return self.ground, self.shared

    def add(self, record: dict[str, Any]) -> None:
        """Keep a record."""
        self.records.append(record)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")


_LOADED: list[Ground] = []


def _load(name: str, shared: Path) -> None:
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)
    if not _LOADED:
        _LOADED.append(GROUNDS[name](shared))


def _measure(cell: Cell) -> dict[str, Any]:
    return measure(_LOADED[0], cell)


def probe(ground: Ground) -> dict[str, Any]:
    """A linear probe on the true labels of every training image: what the features allow."""
    from sklearn.linear_model import LogisticRegression

    scale = np.sqrt(ground.train.shape[1])
    model = LogisticRegression(C=1.0, max_iter=3000).fit(ground.train * scale, ground.truth)
    accuracy = model.score(ground.test * scale, ground.test_truth)
    return {
        "probe": round(float(accuracy), 5),
        "n_train": len(ground.train),
        "n_test": len(ground.test),
        "n_classes": len(ground.class_names),
        "logit_scale": ground.backbone.logit_scale,
    }


def alike(ground: Ground, n_classes: int, noise: str, seed: int) -> dict[str, Any]:
    """DSPT against PromptMAE from the same start, in the same order, at the same rate."""
    part = ground.first_classes(n_classes)
    cell = Cell("few", noise, seed, "coop dspt", 1.0)
    rows, given, _ = draw(part, cell)
    epochs = -(-STEPS // -(-len(rows) // PLAIN_BATCH))
    plan = {"batch_size": PLAIN_BATCH, "lr": default_lr(part, "coop dspt"), "warmup_epochs": 0}
    tuners = {}
    for loss in ("dspt", "mae", "ce", "start"):
        method, n_epochs = ("coop dspt", 0) if loss == "start" else (f"coop {loss}", epochs)
        tuners[loss] = fit(
            part, method, part.train[rows], given, seed, epochs=n_epochs, **plan
        )  # fmt: skip
    known = ground.test_truth < n_classes  # for accuracy; predictions are compared on all images
    predicted = {loss: tuner.predict(ground.test) for loss, tuner in tuners.items()}
    moved = (tuners["dspt"].context_ - tuners["start"].context_).norm()
    record = {"classes": n_classes, "noise": noise, "seed": seed}
    record |= {loss: float((p == ground.test_truth)[known].mean()) for loss, p in predicted.items()}
    for loss in ("mae", "ce"):
        apart = (tuners["dspt"].context_ - tuners[loss].context_).norm()
        record[f"same as {loss}"] = float((predicted["dspt"] == predicted[loss]).mean())
        record[f"apart from {loss}"] = float(apart / moved)
    return {name: round(v, 5) if isinstance(v, float) else v for name, v in record.items()}


def compare_losses(keeper: Keeper, counts: list[int], seeds: int) -> None:
    """`alike` for several numbers of classes."""
    _load(keeper.ground, keeper.shared)
    done = {(r["classes"], r["noise"], r["seed"]) for r in keeper.records if "classes" in r}
    for n_classes in counts:
        for noise in ("none", "symmetric 0.5"):
            for seed in range(1, seeds + 1):
                if (n_classes, noise, seed) not in done:
                    keeper.add(alike(_LOADED[0], n_classes, noise, seed))
                    print(json.dumps(keeper.records[-1]), flush=True)


def _spaced(text: str) -> str:
    """A name as it is typed, with underscores."""
    typed = {method.replace(" ", "_"): method for method in METHODS}
    return typed.get(text, text.replace("_", " "))


def main() -> None:
    """Parse, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("ground", choices=list(GROUNDS))
    parser.add_argument("--shared", type=Path, default=Path("../shared"))
    parser.add_argument("--regimes", nargs="+", choices=list(PLANS), default=list(PLANS))
    parser.add_argument(
        "--methods", nargs="+", type=_spaced, choices=list(METHODS), default=list(METHODS)
    )
    parser.add_argument(
        "--noise", nargs="+", type=_spaced, help="like symmetric_0.5; all of the ground if unset"
    )
    parser.add_argument("--classes", nargs="+", type=int, help="compare DSPT and MAE instead")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("-o", "--out", type=Path, default=Path("docs/results/prompt-tuning"))
    args = parser.parse_args()
    keeper = Keeper(args.out / f"{args.ground}.jsonl", args.ground, args.shared, args.jobs)
    if args.classes:
        compare_losses(keeper, args.classes, args.seeds)
        return
    _load(args.ground, args.shared)
    if not any("probe" in record for record in keeper.records):
        keeper.add(probe(_LOADED[0]))
    for regime in args.regimes:
        methods = [m for m in args.methods if regime == "few" or m not in UNLABELLED]
        noise = args.noise or noises(_LOADED[0])
        keeper.run(choosing(methods, regime, noise))
        factors = chosen(keeper.records, regime)
        keeper.run(measured(methods, regime, noise, args.seeds, factors))


if __name__ == "__main__":
    main()
