"""The cells of a suite, each with a key by which its result is found again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..core.exceptions import gather
from .methods import resolved
from .suite import DataSpec, MethodSpec, ModelSpec, NoiseSpec, Suite

FORMAT = 1
"""Of the records; a new number makes every cell run again."""


@dataclass(frozen=True)
class Cell:
    """One measurement.

    Attributes
    ----------
    key : str
        Hash of everything that decides the result; names that a suite gives are not part of it.
    noise_key : str
        The same for the noisy labels, which all methods share.
    after_key : str or None
        Key of the cell of the detector whose verdicts choose the training labels.
    """

    data: DataSpec
    noise: NoiseSpec
    model: ModelSpec
    method: MethodSpec
    seed: int
    key: str
    noise_key: str
    after_key: str | None = None

    def names(self) -> dict[str, Any]:
        """The cell in the words of the suite."""
        return {
            "data": self.data.name,
            "noise": self.noise.name,
            "model": self.model.name,
            "method": self.method.name,
            "seed": self.seed,
        }


def digest(value: Any) -> str:
    """A short hash of a JSON value."""
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def noise_key(data: DataSpec, noise: NoiseSpec, seed: int, contents: Mapping[str, str]) -> str:
    """Key of the noisy labels of a data set, by the content of the files that are named."""
    files = [[path, contents.get(path)] for path in (*data.files(), *noise.files())]
    return digest([FORMAT, data.settings(), noise.settings(), seed, *([files] if files else [])])


def expand(suite: Suite) -> list[Cell]:
    """All cells, detectors before the classifiers that come after them.

    Raises
    ------
    InputError
        If a detector that something comes after is not run there.
    """
    cells: list[Cell] = []
    known: dict[tuple[str, ...], str] = {}
    problems = []
    cache: dict[tuple[str, str], dict[str, Any]] = {}
    precision = [] if suite.dtype == "float32" else [suite.dtype]
    for data, noise, model, method, seed in _combinations(suite):
        if (method.name, data.name) not in cache:
            cache[method.name, data.name] = resolved(method, data)
        config = cache[method.name, data.name]
        here = (data.name, noise.name, model.name, str(seed))
        after = None
        if method.after is not None:
            after = known.get((*here, method.after))
            if after is None:
                problems.append(f"{method.name} comes after {method.after}, not run for {here}")
                continue
        labels = noise_key(data, noise, seed, suite.contents)
        key = digest([labels, model.id, config, after, *precision])
        known[(*here, method.name)] = key
        cells.append(Cell(data, noise, model, method, seed, key, labels, after))
    gather(problems, what=f"suite {suite.name}")
    return cells


def _combinations(
    suite: Suite,
) -> Iterator[tuple[DataSpec, NoiseSpec, ModelSpec, MethodSpec, int]]:
    """What the `only` of noise, models and methods leave."""
    ordered = sorted(suite.methods.values(), key=lambda method: method.after is not None)
    for method in ordered:
        for data in suite.data.values():
            for noise in suite.noise.values():
                for model in suite.models.values():
                    chosen = {
                        "data": data.name,
                        "noise": noise.name,
                        "models": model.name,
                        "methods": method.name,
                    }
                    if all(_allowed(spec.only, chosen) for spec in (noise, model, method)):
                        for seed in suite.seeds:
                            yield data, noise, model, method, seed


def _allowed(only: dict[str, list[str]], chosen: dict[str, str]) -> bool:
    return all(chosen[axis] in map(str, names) for axis, names in only.items())
