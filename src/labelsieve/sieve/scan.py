"""A scan: the pipeline run on a data set, its results written to a folder."""

from __future__ import annotations

import logging
import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd

from ..backbones import ImageFeatures
from ..core.exceptions import InputError
from ..core.serialization import atomic_path, write_json
from ..core.validation import check_number
from ..core.version import __version__
from ..data import LabeledImages
from ..detectors.issues import write_csv
from .claimed import WORK, claimed, is_unfinished
from .cuts import budget_figures
from .decision_files import TABLE
from .decisions import Decisions
from .label_sieve import LabelSieve
from .self_check import check_flips

log = logging.getLogger(__name__)
FIRST = "first.csv"
FIRST_COLUMNS = ["id", "file_name", "given_label", "suggested_label", "label_score", "p_clean"]
PACKAGES = ("torch", "transformers", "scikit-learn", "numpy", "pandas", "Pillow")


@dataclass(frozen=True)
class ScanResult:
    """A finished scan.

    Attributes
    ----------
    folder : Path
        Where the files are.
    sieve : LabelSieve
        Fitted.
    images : LabeledImages
        What was scanned, or what was fitted to where the scan was streamed.
    streamed : bool
        Whether all issues are in the folder only; `sieve.issues_` are then the worst.
    """

    folder: Path
    sieve: LabelSieve
    images: LabeledImages
    streamed: bool = False


def scan(
    images: LabeledImages,
    out: Path | str,
    sieve: LabelSieve,
    *,
    source: dict[str, Any] | None = None,
    command: str = "",
    decisions: Decisions | None = None,
    budget: int | None = None,
    self_check: float | None = None,
    force: bool = False,
    finish: Callable[[Path, LabeledImages], Any] | None = None,
    features: ImageFeatures | None = None,
    record: dict[str, Any] | None = None,
) -> ScanResult:
    """Fit a sieve and write issues, summary, model and run record to a folder.

    Results are staged inside the folder and moved into place when all are whole, `run.json` last:
    a folder with a `run.json` holds a finished scan. A killed scan keeps its checkpoints, and the
    same call continues from them.

    Parameters
    ----------
    images : LabeledImages
        The data set.
    out : Path or str
        Folder to write; must be new, empty, or hold an unfinished scan.
    sieve : LabelSieve
        Not yet fitted.
    source : dict, optional
        The arguments of `load_images`, for the record ("source" is the data itself).
    command : str
        What was typed, for the record.
    decisions : Decisions, optional
        What people decided; see `LabelSieve.fit`. They are written beside the results.
    budget : int, optional
        Images that somebody has time for; they are listed, worst first, in `first.csv`.
    self_check : float, optional
        Share of labels to flip in a rehearsal; see `LabelSieve.rehearse`.
    force : bool
        Replace a finished scan.
    finish : callable, optional
        Called with the staging folder and the images before the results move into place; writes
        further files, such as the report.
    features : ImageFeatures, optional
        See `LabelSieve.fit`.
    record : dict, optional
        Further entries of run.json.

    Returns
    -------
    ScanResult
        The folder with the fitted sieve.

    Raises
    ------
    InputError
        If the folder holds a finished scan (without `force`) or foreign files, another scan
        writes to it, or the decisions do not fit the images.
    """
    out = Path(out)
    if budget is not None:
        check_number(budget, name="budget", low=1, integer=True)
    if self_check is not None:
        check_flips(self_check, int(images.labeled.sum()))
    with claimed(out, partial(check_free, out, force), what="scan"):
        work, stage = out / WORK, out / WORK / "stage"
        if is_unfinished(out):
            log.warning("continuing the unfinished scan in %s", out)
        sieve.fit(images, workspace=work, decisions=decisions, features=features)
        shutil.rmtree(stage, ignore_errors=True)
        stage.mkdir(parents=True)
        sieve.issues_.save(stage)
        if self_check is not None:
            sieve.summary_["self_check"] = sieve.rehearse(images, self_check)
        if budget is not None:
            sieve.summary_["budget"] = _write_first(stage / FIRST, sieve, budget)
        if sieve.held_ is not None:
            sieve.held_.decisions.save(stage / TABLE)
        run = run_record(sieve, images, source, command) | (record or {})
        write_fitted(stage, sieve, images, run)
        if finish is not None:
            finish(stage, images)
        publish(stage, out)
        shutil.rmtree(work, ignore_errors=True)
    return ScanResult(out, sieve, images)


def write_fitted(
    stage: Path, sieve: LabelSieve, images: LabeledImages, record: dict[str, Any]
) -> None:
    """Write what a fitted sieve knows beside its issues: model, summary, classes, run record."""
    sieve.classifier_.save(stage / "model")
    write_json(stage / "summary.json", sieve.summary_)
    write_json(stage / "classes.json", list(images.class_names))
    _write_matrix(stage / "noise_matrix.csv", sieve, images)
    write_json(stage / "run.json", record)


def check_free(out: Path, force: bool) -> None:
    """Say why a scan cannot be written to a folder."""
    if out.exists() and not out.is_dir():
        raise InputError(f"the output {out} is a file; name a new folder with -o")
    if (out / "run.json").exists():
        if not force:
            raise InputError(
                f"{out} holds a finished scan; add --force to replace it, or name another folder"
            )
    elif out.exists() and any(out.iterdir()) and not (out / WORK).exists():
        raise InputError(f"{out} holds files that are not of a scan; name a new or empty folder")


def _write_matrix(path: Path, sieve: LabelSieve, images: LabeledImages) -> None:
    names = list(images.class_names)
    with atomic_path(path) as partial:
        pd.DataFrame(sieve.noise_matrix_, index=names, columns=names).to_csv(partial)


def _write_first(path: Path, sieve: LabelSieve, budget: int) -> dict[str, Any]:
    """The rows to look at first as a table; returns what they should hold."""
    figures = budget_figures(sieve.detector_, budget, sieve.held_)
    with atomic_path(path) as partial:
        write_csv(sieve.issues_.table.iloc[figures.pop("rows")][FIRST_COLUMNS], partial)
    return figures


def run_record(
    sieve: LabelSieve, images: LabeledImages, source: dict[str, Any] | None, command: str
) -> dict[str, Any]:
    """What was run, with which versions: enough to run it again."""
    config = sieve.get_params(deep=False) | {"model": sieve.backbone_.origin}
    return {
        "command": command,
        "labelsieve": __version__,
        "versions": {"python": platform.python_version()} | {p: version(p) for p in PACKAGES},
        "config": config,
        "resolved": {
            "detector": _plain(sieve.detector_.get_params(deep=False)),
            "tuner": _plain(sieve.classifier_.get_params(deep=False)),
        },
        "model": {"id": sieve.backbone_.model_id, "commit": sieve.backbone_.commit},
        "data": (source or {}) | {"rule": images.rule, "n_images": len(images)},
        "decisions": _decisions_record(sieve),
        "seed": sieve.random_state,
        "timings": sieve.timings_,
    }


def _decisions_record(sieve: LabelSieve) -> dict[str, Any] | None:
    """Where decisions came from and how many there were; they themselves are in decisions.csv."""
    if sieve.held_ is None:
        return None
    given = sieve.held_.decisions
    return {"source": given.origin, "n": len(given), **given.counts()}


def _plain(params: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in params.items() if k not in ("backbone", "class_names")}


def publish(stage: Path, out: Path) -> None:
    """Move staged files into place; the record that marks a scan as finished goes last."""
    (out / "run.json").unlink(missing_ok=True)
    for name in (TABLE, FIRST):
        (out / name).unlink(missing_ok=True)  # of an earlier scan
    for item in sorted(stage.iterdir(), key=lambda path: path.name == "run.json"):
        target = out / item.name
        if target.is_dir():
            shutil.rmtree(target)
        item.replace(target)
