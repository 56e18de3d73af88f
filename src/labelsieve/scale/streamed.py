"""Scans of more rows than one process should hold: fit to a subset, score in a second pass."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ..backbones import ImageFeatures
from ..core.exceptions import InputError
from ..data import LabeledImages
from ..data.class_names import read_class_spec
from ..data.labels import encode_labels
from ..data.listing import ReadOptions
from ..data.remote import spec_beside
from ..data.webdataset import TarSource
from ..detectors import LabelIssues
from ..detectors.issues import COLUMNS
from ..prompts import zero_shot_classifier
from ..sieve import LabelSieve, ScanResult
from ..sieve.scan import WORK, publish, run_record, write_fitted
from ..tuners.inputs import words_that_fit
from .cluster import Cluster, run_tasks
from .gather import Gathered, complete
from .ledger import Ledger
from .score import Fitted, Judged, score_block
from .subset import draw
from .tally import Tally

STREAMING = ("latent-label", "label-match", "small-loss", "dual-prompts")


def check_streamed(sieve: LabelSieve, extras: dict[str, Any], n_rows: int, fit_rows: int) -> None:
    """Refuse what needs all rows at once.

    Raises
    ------
    InputError
        If the detector cannot score further rows, or one of the `extras` is given.
    """
    way_out = f"raise --fit-rows over {n_rows:,} where memory allows"
    if sieve.detector not in STREAMING:
        raise InputError(
            f"{n_rows:,} rows are more than --fit-rows {fit_rows:,}, and the detector "
            f"{sieve.detector} judges all rows at once; choose one of {', '.join(STREAMING)}, or "
            + way_out
        )
    given = [name for name, value in extras.items() if value is not None]
    if given:
        raise InputError(
            f"{', '.join(given)} need all rows fitted at once, and {n_rows:,} are more than "
            f"--fit-rows {fit_rows:,}; {way_out}"
        )


def scan_streamed(
    found: Gathered,
    images: LabeledImages | None,
    out: Path,
    sieve: LabelSieve,
    options: ReadOptions,
    source: dict[str, Any] | None,
    command: str,
    record: dict[str, Any],
    cluster: Cluster,
    fit_rows: int,
    tell: Callable[[str], Any],
) -> ScanResult:
    """Fit to a stratified subset, score every block, and write the results block by block.

    Memory is that of the subset and of one block, and 9 bytes a row. There is no report. The
    `issues_` of the sieve hold the worst rows only.
    """
    names, words, codes = _classes(found, images, options)
    drawn = draw(found, codes, len(names), fit_rows, sieve.random_state)
    tell(
        f"{found.n_rows:,} rows: fitted to a stratified subset of {len(drawn.rows):,} "
        f"(seed {sieve.random_state}), then all are scored"
    )
    part = _subset_images(found, images, drawn.rows, names, words, codes)
    features = ImageFeatures(drawn.features)
    sieve.fit(part, workspace=out / WORK, features=features)
    issues = _score(found, drawn.rows, out, sieve, names, words, codes, cluster)
    stage = out / WORK / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir(parents=True)
    spread = getattr(sieve.detector_, "rate_logit_sd", None)
    tally = _write_issues(issues, stage, Tally(names, spread))
    if tally.n_images != found.n_rows:
        raise InputError(f"{tally.n_images:,} rows were scored, but {found.n_rows:,} were read")
    notes = found.notes() + (() if images is None else images.notes)
    for note in found.notes():
        tell(f"note: {note}")
    sieve.summary_ = tally.summary(sieve.noise_matrix_, notes)
    worst = tally.worst.reset_index(drop=True) if tally.worst is not None else None
    if worst is not None:
        sieve.issues_ = LabelIssues(worst.loc[:, list(COLUMNS)])
    record["scale"] |= {"fit_rows": len(drawn.rows), "streamed": True}
    about = run_record(sieve, part, source, command) | record
    about["data"]["n_images"] = found.n_rows
    write_fitted(stage, sieve, part, about)
    publish(stage, out)
    shutil.rmtree(out / WORK, ignore_errors=True)
    return ScanResult(out, sieve, part)


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


def _subset_images(
    found: Gathered,
    images: LabeledImages | None,
    rows: np.ndarray,
    names: tuple[str, ...],
    words: tuple[str, ...],
    codes: dict[str, int],
) -> LabeledImages:
    """The drawn rows as a data set of their own."""
    if images is not None:
        return images.subset(rows)
    columns = ["id", "file_name", "label", "offset", "size"]
    parts, shard = [], []
    for block, (start, record) in enumerate(zip(found.starts, found.records, strict=False)):
        inside = rows[(rows >= start) & (rows < start + record["rows"])] - start
        if len(inside):
            parts.append(found.ledger.read(record, columns).take(pa.array(inside)))
            shard += [block] * len(inside)
    table = pa.concat_tables(parts)
    ids, files, labels, offsets, sizes = (table[name].to_pylist() for name in columns)
    return LabeledImages(
        ids=np.array(ids, dtype=object),
        file_names=np.array(files, dtype=object),
        given_labels=np.array([codes[label] for label in labels]),
        class_names=names,
        source=TarSource(found.shards, np.array(shard), np.array(offsets), np.array(sizes)),
        rule=f"a stratified subset of {len(found.shards)} WebDataset tar shards",
        prompt_names=words,
    )


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
    if detector.scorer_ is None:
        raise InputError(
            f"the detector {detector.name} with these arguments judges only the rows it is fitted "
            f"to; use its defaults, or raise --fit-rows over {found.n_rows:,}"
        )
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
    tasks = []
    for start, record in zip(found.starts, found.records, strict=False):
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
    return Gathered(ledger, complete(ledger, found.blocks, failures), found.blocks)


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
            frame[list(COLUMNS)].to_csv(file, index=False, header=record is found.records[0])
            tally.add(frame)
    if writer is not None:
        writer.close()
    return tally
