"""What runs in a process of its own: drawing noise, encoding images, measuring a cell.

The module imports the heavy libraries at its top on purpose: the process from which the workers
fork imports it once, and they start warm.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import sys
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import sklearn.linear_model
import sklearn.mixture
import sklearn.model_selection  # noqa: F401
import torch
from transformers import (  # noqa: F401
    AutoImageProcessor,
    AutoModel,
    AutoTokenizer,
    CLIPModel,
)

from ..backbones import load_backbone
from ..core.serialization import write_text
from .cells import Cell
from .cost import peak_device_memory_mb, peak_memory_mb
from .measure_classifier import measure_classifier
from .measure_detector import features_of, measure_detector
from .noise_files import make_noise_file, noise_path, read_noisy
from .sources import test_images
from .tasks import Settings, Task, describe, publish


def start(task: Task, settings: Settings) -> None:
    """Entry point of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the process that started it decides
    _end_with_parent()
    os.environ.update(settings.environment)
    _limit_threads(settings.threads)
    log = settings.places.results / "logs" / f"{task.kind}-{task.key}.txt"
    _redirect(log)
    run_task(task, settings)
    sys.stdout.flush()
    sys.stderr.flush()
    if log.stat().st_size == 0:
        log.unlink()


def run_task(task: Task, settings: Settings) -> None:
    """Do a task in this process; a failure is written down, never raised."""
    if task.kind == "cell":
        run_cell(task.cell, settings)
        return
    places = settings.places
    failure = noise_path(places, task.cell.noise_key).with_suffix(".error.txt")
    try:
        if task.kind == "noise":
            failure.unlink(missing_ok=True)
            make_noise_file(task.cell, places)
        else:
            _encode(task.cell, settings)
    except Exception as error:  # whatever it is, it is told where it matters
        traceback.print_exc()
        if task.kind == "noise":
            write_text(failure, f"{traceback.format_exc()}\n{describe(error)}\n")


def run_cell(cell: Cell, settings: Settings) -> None:
    """Measure a cell and publish its folder; a failure is a record with its error."""
    cells = settings.places.results / "cells"
    partial = cells / f".{cell.key}.{os.getpid()}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    started = time.perf_counter()
    record: dict[str, Any] = {"status": "ok", "error": None}
    try:
        record |= _measure(cell, settings, partial)
    except Exception as error:
        record = {"status": "failed", "error": describe(error)}
        write_text(partial / "traceback.txt", traceback.format_exc())
    record["seconds_total"] = round(time.perf_counter() - started, 4)
    record["peak_memory_mb"] = peak_memory_mb()
    record["peak_device_memory_mb"] = peak_device_memory_mb()
    publish(cell, record, partial, settings)


def _measure(cell: Cell, settings: Settings, folder: Path) -> dict[str, Any]:
    """The figures of a cell."""
    places = settings.places
    noisy = read_noisy(cell, places)
    record = {
        "n_train": len(noisy.images),
        "n_classes": len(noisy.images.class_names),
        "noise_rate": float(noisy.is_wrong.mean()),
        "noise_hash": noisy.hash,
        "memory_at_start_mb": peak_memory_mb(),
    }
    backbone = _backbone(cell, settings)
    record |= {"model_id": backbone.model_id, "model_commit": backbone.commit}
    record["device"] = str(backbone.device)
    if cell.method.detects:
        return record | measure_detector(cell, noisy, backbone, folder)
    return record | measure_classifier(cell, noisy, backbone, folder, places)


def _backbone(cell: Cell, settings: Settings) -> Any:
    """The model of a cell, loaded."""
    return load_backbone(
        settings.places.path(cell.model.id),
        device=settings.device,
        dtype=settings.dtype,
        offline=settings.places.offline,
    )


def _encode(cell: Cell, settings: Settings) -> None:
    """Put the features of the training and test images into the shared cache."""
    backbone = _backbone(cell, settings)
    features_of(read_noisy(cell, settings.places).images, backbone)
    test = test_images(cell.data, settings.places)
    if test is not None:
        features_of(test, backbone)


def _limit_threads(threads: int) -> None:
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    threadpool_limits(threads)


def _redirect(log: Path) -> None:
    """Let all output of this process, that of a crash too, go to a file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    file = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    logging.basicConfig(level=logging.WARNING, format="%(message)s")


def _end_with_parent() -> None:
    """End when the process that started this one is killed, rather than run on unseen."""
    import multiprocessing
    from multiprocessing.connection import wait

    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
