"""Scans of more rows than one process should hold: fit to a subset, score in a second pass."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from ..backbones import ImageFeatures
from ..core.cluster import Cluster
from ..core.exceptions import InputError
from ..data import LabeledImages
from ..data.class_names import read_class_spec
from ..data.labels import encode_labels
from ..data.listing import ReadOptions
from ..data.remote import spec_beside
from ..detectors import DETECTORS, LabelIssues
from ..detectors.issues import COLUMNS, write_csv
from ..prompts import zero_shot_classifier
from ..sieve import LabelSieve, ScanResult
from ..sieve.build import build_estimator
from ..sieve.claimed import WORK
from ..sieve.decisions import Decisions
from ..sieve.scan import FIRST, FIRST_COLUMNS, publish, run_record, write_fitted
from ..tuners.inputs import words_that_fit
from .cluster import run_tasks
from .gather import Gathered, TarImages, complete
from .ledger import Ledger
from .score import Fitted, Judged, score_block
from .subset import draw, subset_images
from .tally import Tally

STREAMING = ("latent-label", "label-match", "small-loss", "dual-prompts")


@dataclass(frozen=True)
class Wanted:
    """What a person asked of a scan, as in `sieve.scan`."""

    source: dict[str, Any] | None = None
    command: str = ""
    budget: int | None = None
    self_check: float | None = None
    finish: Callable[[Path, Any], Any] | None = None


def check_streamed(
    sieve: LabelSieve, decisions: Decisions | None, n_rows: int, fit_rows: int
) -> None:
    """Refuse what needs all rows at once.

    Raises
    ------
    InputError
        If the detector cannot score further rows, or decisions are given.
    """
    many = f"{n_rows:,} rows are more than --fit-rows {fit_rows:,}"
    way_out = f"raise --fit-rows over {n_rows:,} where memory allows"
    if sieve.detector not in STREAMING:
        raise InputError(
            f"{many}, and the detector {sieve.detector} judges all rows at once; choose one of "
            f"{', '.join(STREAMING)}, or {way_out}"
        )
    detector = build_estimator(DETECTORS, sieve.detector, sieve.detector_params, 0)
    if not getattr(detector, "by_features", True):
        raise InputError(
            f"{many}, and {sieve.detector} judges only the rows it is fitted to where it adapts "
            f"the image encoder or takes the mask of the last epoch; leave that out, or {way_out}"
        )
    if decisions is not None:
        raise InputError(
            f"{many}, and --decisions are held fixed in a fit to all rows, not in one to a subset; "
            f"{way_out}, or write them into the data first (`labelsieve apply`) and scan the result"
        )


def scan_streamed(
    found: Gathered,
    images: LabeledImages | None,
    out: Path,
    sieve: LabelSieve,
    options: ReadOptions,
    wanted: Wanted,
    record: dict[str, Any],
    cluster: Cluster,
    fit_rows: int,
    tell: Callable[[str], Any],
) -> ScanResult:
    """Fit to a stratified subset, score every block, and write the results block by block.

    Memory is that of the subset and of one block, and 9 bytes a row. The `issues_` of the sieve
    hold the worst rows only; a self-check is one of the subset.
    """
    names, words, codes = _classes(found, images, options)
    drawn = draw(found, codes, len(names), fit_rows, sieve.random_state)
    tell(
        f"{found.n_rows:,} rows: fitted to a stratified subset of {len(drawn.rows):,} "
        f"(seed {sieve.random_state}), then all are scored"
    )
    part = subset_images(found, images, drawn.rows, names, words, codes)
    sieve.fit(part, workspace=out / WORK, features=ImageFeatures(drawn.features))
    with sieve._timed("score"):
        issues = _score(found, drawn.rows, out, sieve, names, words, codes, cluster)
    stage = out / WORK / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    with sieve._timed("write"):
        rate, precision = (
            getattr(sieve.detector_, f"{name}_logit_sd", None) for name in ("rate", "precision")
        )
        counts = Tally(names, rate, precision, n_first=wanted.budget or 0)
        tally = _write_issues(issues, stage, counts)
        if tally.n_images != found.n_rows:
            raise InputError(f"{tally.n_images:,} rows were scored, but {found.n_rows:,} were read")
        for note in found.notes():
            tell(f"note: {note}")
        notes = found.notes() + (() if images is None else images.notes)
        _summarize(sieve, tally, notes, part, stage, wanted)
    record["scale"] |= {"fit_rows": len(drawn.rows), "streamed": True}
    about = run_record(sieve, part, wanted.source, wanted.command) | record
    about["data"]["n_images"] = found.n_rows
    write_fitted(stage, sieve, part, about)
    if wanted.finish is not None:
        wanted.finish(stage, TarImages(found) if images is None else images)
    publish(stage, out)
    shutil.rmtree(out / WORK, ignore_errors=True)
    return ScanResult(out, sieve, part, streamed=True)


def _summarize(
    sieve: LabelSieve,
    tally: Tally,
    notes: tuple[str, ...],
    part: LabeledImages,
    stage: Path,
    wanted: Wanted,
) -> None:
    """The summary of all rows, with budget and self-check; the worst rows as the sieve's issues."""
    sieve.summary_ = tally.summary(sieve.noise_matrix_, notes)
    if wanted.self_check is not None:
        sieve.summary_["self_check"] = sieve.rehearse(part, wanted.self_check)
    if wanted.budget is not None:
        sieve.summary_["budget"] = tally.budget()
        write_csv(tally.first.loc[:, FIRST_COLUMNS], stage / FIRST)
    worst = tally.worst if len(tally.worst) else pd.DataFrame(columns=list(COLUMNS))
    sieve.issues_ = LabelIssues(worst.loc[:, list(COLUMNS)].reset_index(drop=True))


def _classes(
    found: Gathered, images: LabeledImages | None, options: ReadOptions
) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, int]]:
    """Class names, prompt words, and the class index of every label cell."""
    if images is not None:
        codes = {name: k for k, name in enumerate(images.class_names)}
        return images.class_names, images.prompt_names, codes
    cells = sorted(cell for cell in found.label_counts if cell)
    given = read_class_spec(options.class_names)
    spec = given if given.order is not None else spec_beside(found.shards[0])
    encoded = encode_labels(np.array(cells, dtype=object), spec=spec)
    if len(encoded.class_names) < 2:
        raise InputError(f"{found.shards[0]}: fewer than two classes in the .cls members")
    names, known = encoded.class_names, given.words or {}
    words = tuple(known.get(name, name.replace("_", " ")) for name in names)
    return names, words, dict(zip(cells, encoded.labels.tolist(), strict=True))


def _score(
    found: Gathered,
    rows: np.ndarray,
    out: Path,
    sieve: LabelSieve,
    names: tuple[str, ...],
    words: tuple[str, ...],
    codes: dict[str, int],
    cluster: Cluster,
) -> Gathered:
    """Score every block with the fitted detector."""
    detector = sieve.detector_
    assert detector.scorer_ is not None  # `check_streamed` has seen to it
    ledger = Ledger(out / WORK / "issues")
    ledger.clear()  # what was fitted may differ in its last bits
    ledger.folder.mkdir(parents=True)
    fitted = Fitted(
        detector.scorer_,
        zero_shot_classifier(sieve.backbone_, words_that_fit(sieve.backbone_, words)),
        names,
        codes,
        detector.name,
        found.ledger.folder.absolute(),
        ledger.folder.absolute(),
    )
    blocks, tasks = [], []
    for start, record, block in zip(found.starts, found.records, found.blocks, strict=False):
        if not record["rows"]:  # an empty shard
            continue
        blocks.append(block)
        at = np.flatnonzero((rows >= start) & (rows < start + record["rows"]))
        judged = Judged(
            rows[at] - start,
            detector.label_score_[at],
            detector.p_clean_[at],
            detector.is_label_issue_[at],
            detector.fits_no_class_[at],
            detector.probabilities_[at],
        )
        tasks.append((record, judged))
    failures = {
        result["block"]: result["failure"]
        for result in run_tasks(partial(_scorer, fitted), tasks, cluster)
        if "failure" in result
    }
    return Gathered(ledger, complete(ledger, blocks, failures), blocks)


def _scorer(fitted: Fitted) -> Callable[[Any], dict[str, Any]]:
    return partial(score_block, fitted=fitted)


def _write_issues(found: Gathered, stage: Path, tally: Tally) -> Tally:
    """Append the blocks to issues.parquet and issues.csv, checking hashes, and add them up."""
    writer = None
    with (stage / "issues.csv").open("w", encoding="utf-8", newline="") as file:
        for record in found.records:
            table = found.ledger.read(record)
            plain = table.select(list(COLUMNS))
            writer = writer or pq.ParquetWriter(stage / "issues.parquet", plain.schema)
            writer.write_table(plain)
            frame = table.to_pandas()
            write_csv(frame.loc[:, list(COLUMNS)], file, header=record is found.records[0])
            tally.add(frame)
    if writer is not None:
        writer.close()
    return tally
