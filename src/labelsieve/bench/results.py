"""The results of a suite as one tidy table, a row a cell."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from ..core.exceptions import InputError
from ..core.serialization import atomic_path, read_json, write_json
from .cells import Cell, expand
from .suite import Suite
from .suite_load import parse_suite

SUITE_FILE = "suite.json"
TABLE_FILE = "results.parquet"
FIRST = ("suite", "data", "noise", "model", "method", "kind", "seed", "status", "error", "cell")
NESTED = ("per_class", "p_clean_reliability", "format")


def save_suite(suite: Suite, results: Path) -> None:
    """Keep the suite beside its results, with all that its cells are known by."""
    kept = {"name": suite.name, "suite": suite.document}
    kept |= {"contents": suite.contents, "dtype": suite.dtype}
    write_json(results / SUITE_FILE, kept)


def load_results(results: Path | str) -> tuple[Suite, pd.DataFrame]:
    """The suite of a folder of results, and its table.

    Raises
    ------
    InputError
        If the folder holds no results.
    """
    results = Path(results)
    if not (results / SUITE_FILE).is_file():
        raise InputError(
            f"{results} holds no results of a benchmark; run "
            f"`labelsieve bench SUITE -o {shlex.quote(str(results))}`"
        )
    kept = read_json(results / SUITE_FILE)
    suite = parse_suite(json.dumps({"name": kept["name"], **kept["suite"]}), f"suite in {results}")
    known = {name: kept[name] for name in ("contents", "dtype") if name in kept}
    suite = replace(suite, **known)
    return suite, collect(suite, results)


def record_of(cell: Cell, results: Path) -> dict[str, Any] | None:
    """What is known of a cell; None where it was not run."""
    path = results / "cells" / cell.key / "record.json"
    return read_json(path) if path.is_file() else None


def collect(suite: Suite, results: Path) -> pd.DataFrame:
    """One row for every cell of the suite: its names, status, figures and costs.

    A cell that was not run has the status "missing". Cells of earlier versions of the suite are
    left out.

    Parameters
    ----------
    suite : Suite
    results : Path
        Folder of the results.
    """
    rows = []
    for cell in expand(suite):
        record = record_of(cell, results) or {"status": "missing", "error": None}
        record = {k: v for k, v in record.items() if k not in (*NESTED, "key")}
        names = {"suite": suite.name, **cell.names(), "kind": cell.method.kind}
        noise = {"noise_kind": cell.noise.kind or "human", "after": cell.method.after}
        rows.append(record | names | noise | {"cell": cell.key})
    table = pd.DataFrame(rows)
    columns = [*FIRST, *(name for name in table.columns if name not in FIRST)]
    texts = ("error", "after", "noise_hash", "model_id", "model_commit", "noise_key")
    return table[columns].astype({name: "string" for name in texts if name in table})


def write_results(suite: Suite, results: Path) -> pd.DataFrame:
    """Write results.parquet from what is there, and return the table."""
    table = collect(suite, results)
    with atomic_path(results / TABLE_FILE) as partial:
        table.to_parquet(partial, index=False)
    return table
