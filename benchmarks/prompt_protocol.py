"""The protocol of the prompt study: what a cell is, how it is fitted, which cells there are.

Every method has the same rule for its learning rate: of four multiples of its default the one with
the best accuracy on held-out given labels, in two draws that are not measured; once for clean
labels, once for few wrong ones (a quarter, symmetric) and once for many (half). The last epoch is
scored. True labels draw the shots, inject the noise and score; no method sees them.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from prompt_grounds import Ground

from labelsieve.core.exceptions import LabelSieveError
from labelsieve.data import inject_noise
from labelsieve.data.splits import few_shot
from labelsieve.losses import LOSSES
from labelsieve.tuners import TUNERS
from labelsieve.tuners.plan import default_plan
from labelsieve.tuners.text_encoder_tuning import LR_FACTOR

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
