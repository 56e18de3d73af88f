"""Prompt tuning under label noise: every method on one ground, few shots and many images.

    python benchmarks/prompt_study.py tin-cifar10 --regimes few --jobs 2
    python benchmarks/prompt_study.py tin-cifar10 --factors 0.25 2 --methods coop_ce coop_dspt
    python benchmarks/prompt_study.py photo-tiny-imagenet --classes 2 10 50 200
    python benchmarks/prompt_study_page.py

Features are computed once; all cells of a process share them and the loaded model. The protocol is
in `prompt_protocol.py`. Finished cells are kept, so the same command continues an interrupted run.
"""

from __future__ import annotations

import argparse
import json
import logging
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from prompt_facts import probe, start
from prompt_grounds import GROUNDS, Ground
from prompt_protocol import (
    METHODS,
    PLANS,
    UNLABELLED,
    Cell,
    choosing,
    chosen,
    default_lr,
    draw,
    fit,
    measure,
    measured,
    noises,
)

STEPS, PLAIN_BATCH = 100, 32


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
    parser.add_argument(
        "--factors", nargs="+", type=float, help="multiples of the default rate to score them all"
    )
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
    if not any("confidence" in record for record in keeper.records):
        keeper.add(start(_LOADED[0]))
    for regime in args.regimes:
        methods = [m for m in args.methods if regime == "few" or m not in UNLABELLED]
        noise = args.noise or noises(_LOADED[0])
        if args.factors:
            cells = measured(methods, regime, noise, args.seeds, {})
            keeper.run([replace(cell, factor=factor) for factor in args.factors for cell in cells])
            continue
        keeper.run(choosing(methods, regime, noise))
        factors = chosen(keeper.records, regime)
        keeper.run(measured(methods, regime, noise, args.seeds, factors))


if __name__ == "__main__":
    main()
