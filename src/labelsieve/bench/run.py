"""Run a suite: what is missing, in processes of its own, and keep every result."""

from __future__ import annotations

import contextlib
import logging
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import torch

from ..core.cluster import Cluster
from ..core.device import resolve_device, resolve_dtype
from ..core.exceptions import InputError
from ..core.lock import alone
from ..core.progress import progress
from ..core.serialization import read_json
from .cells import Cell, digest, expand
from .methods import build_method, uses_pixels
from .noise_files import noise_path
from .pool import AbstractExecutor, LocalExecutor, run_tasks, threads_for
from .results import SUITE_FILE, record_of, save_suite, write_results
from .sources import Places, contents_of
from .suite import Suite
from .tasks import Settings, Task, publish

log = logging.getLogger(__name__)
LOCK = ".lock"


def run_suite(
    suite: Suite,
    out: Path | str,
    *,
    jobs: int = 1,
    cluster: Cluster | None = None,
    data_root: str | None = None,
    device: str = "auto",
    dtype: str = "auto",
    offline: bool = False,
    retry_failed: bool = False,
) -> pd.DataFrame:
    """Run the cells of a suite that have no result yet.

    Each cell runs in a process of its own. A failure becomes a record with its error. What is
    finished stays when the run is interrupted or killed.

    Parameters
    ----------
    suite : Suite
        See `load_suite`.
    out : Path or str
        Folder of the results: new, or of an earlier run.
    jobs : int
        Processes at a time, fewer where memory is short; they share the processors.
    cluster : Cluster, optional
        Run on Ray rather than in processes of this machine; its `workers` take the place of `jobs`.
    data_root : str, optional
        What "${root}" in the suite stands for.
    device, dtype, offline
        See `load_backbone`. The precision is part of what a cell is known by, the device is not.
    retry_failed : bool
        Run failed cells again.

    Returns
    -------
    pandas.DataFrame
        One row a cell; also in results.parquet.

    Raises
    ------
    InputError
        If the folder holds something else, or another run writes to it.
    """
    dtype = _one_dtype(dtype, device, cluster)
    places = Places(_check_out(Path(out)), data_root, offline)
    settings = Settings(places, threads_for(jobs), device, dtype, dict(os.environ))
    places.results.mkdir(parents=True, exist_ok=True)
    busy = f"another run writes to {places.results}; wait for it or end it"
    with alone(places.results / LOCK, busy):
        _clear(places.results)
        suite = replace(suite, dtype=dtype, contents=_contents(suite, places))
        cells = list({cell.key: cell for cell in expand(suite)}.values())
        save_suite(suite, places.results)
        missing = [cell for cell in cells if _is_missing(cell, places.results, retry_failed)]
        try:
            with _executor(settings, jobs, cluster) as executor:
                _run_missing(missing, len(cells), settings, executor)
        finally:
            _clear(places.results)
            table = write_results(suite, places.results)
    return table


def _contents(suite: Suite, places: Places) -> dict[str, str]:
    """Hashes of the files of a suite; one that is not at hand is taken to be as it was."""
    before = places.results / SUITE_FILE
    known = read_json(before).get("contents", {}) if before.is_file() else {}
    return known | contents_of(suite, places)


def _one_dtype(dtype: str, device: str, cluster: Cluster | None) -> str:
    """The precision of all cells: "auto" is decided once, here, and not by each worker."""
    try:
        place = resolve_device(device)
    except InputError:
        if cluster is None:
            raise
        place = torch.device("cpu")  # the workers may have what this machine lacks
    return str(resolve_dtype(dtype, place)).removeprefix("torch.")


def plan(cells: list[Cell], places: Places) -> list[Task]:
    """The tasks for some cells: noise first, then features, then the cells themselves."""
    noise, features, work = {}, {}, []
    for cell in cells:
        labels, encoded = f"noise-{cell.noise_key}", _features_key(cell)
        table = noise_path(places, cell.noise_key)
        if not (table.exists() and table.with_suffix(".json").exists()):
            noise.setdefault(labels, Task("noise", labels, cell))
        if encoded is not None:
            task = Task("features", encoded, cell, (labels,))
            encoded_before = features.setdefault(encoded, task)
            encoded = encoded_before.key
        after = (labels, encoded or labels, cell.after_key or labels)
        work.append(Task("cell", cell.key, cell, tuple(dict.fromkeys(after))))
    return [*noise.values(), *features.values(), *work]


def _features_key(cell: Cell) -> str | None:
    """Cells with the same images and model need the same features; None where pixels are used."""
    estimator = build_method(cell.method, cell.data)
    if cell.method.kind == "adapt" or uses_pixels(estimator):
        return None
    # Seeds and noise choose rows only where a subset is drawn.
    drawn = cell.noise.kind == "few-shot" or cell.data.images or cell.data.shots
    rows = cell.noise_key if drawn else None
    return "features-" + digest([cell.data.settings(), cell.model.id, rows])


def _executor(
    settings: Settings, jobs: int, cluster: Cluster | None
) -> contextlib.AbstractContextManager[AbstractExecutor]:
    if cluster is None:
        return contextlib.nullcontext(LocalExecutor(settings, jobs))
    from .ray_pool import ray_executor

    return ray_executor(cluster, settings)


def _run_missing(
    missing: list[Cell], total: int, settings: Settings, executor: AbstractExecutor
) -> None:
    tasks = plan(missing, settings.places)
    log.info("%d of %d cells to run", len(missing), total)
    bar = progress(total=total, initial=total - len(missing), desc="cells", unit="cell")
    with bar, contextlib.closing(run_tasks(tasks, executor)) as ended:
        for task, code in ended:
            if task.kind != "cell":
                continue
            record = record_of(task.cell, settings.places.results)
            if code or record is None:
                record = _crashed(task.cell, code, settings)
            bar.update()
            _tell(task.cell, record, bar)


def _crashed(cell: Cell, code: int, settings: Settings) -> dict:
    """The record of a process that ended without one."""
    partial = settings.places.results / "cells" / f".{cell.key}.crashed.partial"
    partial.mkdir(parents=True, exist_ok=True)
    reason = f"signal {-code}" if code < 0 else f"exit code {code}"
    hint = " (signal 9 is often a lack of memory: use fewer --jobs)" if code == -9 else ""
    record = {"status": "failed", "error": f"the process ended with {reason}{hint}"}
    publish(cell, record, partial, settings)
    return record


def _tell(cell: Cell, record: dict, bar) -> None:
    names = " | ".join(str(value) for value in cell.names().values())
    if record["status"] == "failed":
        bar.clear()
        log.warning("failed: %s: %s", names, record["error"])
        return
    figure = record.get("average_precision", record.get("accuracy"))
    shown = "none" if figure is None else f"{figure:.4f}"
    log.info("%s: %s, %.1f s", names, shown, record["seconds_fit"])


def _is_missing(cell: Cell, results: Path, retry_failed: bool) -> bool:
    record = record_of(cell, results)
    return record is None or (retry_failed and record["status"] == "failed")


def _check_out(out: Path) -> Path:
    """The folder, if it is new, empty or holds results."""
    if out.exists() and not out.is_dir():
        raise InputError(f"the output {out} is a file; name a new folder with -o")
    ours = (SUITE_FILE, LOCK)
    if out.exists() and any(out.iterdir()) and not any((out / name).exists() for name in ours):
        raise InputError(f"{out} holds files that are not of a benchmark; name a new folder")
    return out


def _clear(results: Path) -> None:
    """Remove what a killed run left half-done."""
    for pattern in ("cells/.*.partial", "noise/.*.partial*"):
        for path in results.glob(pattern):
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
