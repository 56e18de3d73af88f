"""A scan whose images are encoded, and where they are many also scored, in blocks on Ray."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..backbones import AbstractBackbone, load_backbone
from ..core.cluster import Cluster
from ..core.exceptions import InputError
from ..core.progress import progress
from ..core.validation import check_number
from ..data import LabeledImages, load_images
from ..data.listing import ReadOptions
from ..data.load import tar_shards
from ..sieve import LabelSieve, ScanResult
from ..sieve.claimed import claimed
from ..sieve.decisions import Decisions
from ..sieve.scan import check_free, scan
from .blocks import Block, TarBlock, blocks_of_images, plan_digest
from .cluster import run_tasks
from .encode import encode_block, missing_blocks
from .gather import Gathered, complete
from .ledger import Ledger
from .streamed import Wanted, check_streamed, scan_streamed

log = logging.getLogger(__name__)

BLOCK_ROWS = 2048
FIT_ROWS = 200_000
FEATURES = "features"


def scan_on_ray(
    data: str,
    out: Path | str,
    sieve: LabelSieve,
    *,
    read: dict[str, Any] | None = None,
    source: dict[str, Any] | None = None,
    command: str = "",
    decisions: Decisions | None = None,
    budget: int | None = None,
    self_check: float | None = None,
    force: bool = False,
    finish: Callable[[Path, LabeledImages], Any] | None = None,
    cluster: Cluster | None = None,
    block_rows: int = BLOCK_ROWS,
    fit_rows: int = FIT_ROWS,
    tell: Callable[[str], Any] = log.info,
) -> ScanResult:
    """As `sieve.scan`, with the images encoded by a pool of workers, block by block.

    Up to `fit_rows` rows the detector is fitted to all features, and the result is that of the
    local engine. Above, it is fitted to a stratified subset of that size, and a second pass over
    the blocks scores every row with what was learned.

    Parameters
    ----------
    data : str
        What `load_images` reads. Tar shards are listed by the workers, anything else here.
    out : Path or str
        Folder for the results, under the same path on every worker. Its ``features/`` holds the
        committed blocks; the same call continues from them.
    sieve : LabelSieve
        Not yet fitted; `model` is a name or a directory that the workers have.
    read : dict, optional
        Arguments of `load_images`.
    source, command, decisions, budget, self_check, force, finish
        See `sieve.scan`.
    cluster : Cluster, optional
        Where the work runs; by default on this machine.
    block_rows : int
        Images a block, where the data are not shards.
    fit_rows : int
        Most rows that the detector is fitted to at once; bounds the memory of this process.
    tell : callable
        Takes a line for the person.

    Raises
    ------
    InputError
        If data or arguments cannot be used, a block cannot be computed, or an id occurs twice.
    """
    check_number(block_rows, name="block_rows", low=1, integer=True)
    check_number(fit_rows, name="fit_rows", low=2, integer=True)
    if budget is not None:
        check_number(budget, name="budget", low=1, integer=True)
    if self_check is not None:
        check_number(self_check, name="self_check", low=0.0, high=1.0)
    out, cluster, started = Path(out), cluster or Cluster(), time.perf_counter()
    options = ReadOptions(**(read or {}))
    shards = tar_shards(data, options.split)
    images = None if shards else load_images(data, **(read or {}))
    blocks: list[Block] = (
        [TarBlock(number, shard) for number, shard in enumerate(shards)]
        if images is None
        else blocks_of_images(images, block_rows)
    )
    _describe(images, blocks, tell)
    with claimed(out, partial(check_free, out, force), what="scan"):
        ledger = Ledger(out / FEATURES)
        if (out / "run.json").exists():
            ledger.clear()
        found = _encode(blocks, ledger, sieve, cluster)
        found.check_ids(images)
        record = {"scale": _record(found, cluster, fit_rows, time.perf_counter() - started)}
        if found.n_rows > fit_rows:
            wanted = Wanted(source, command, budget, self_check, finish)
            check_streamed(sieve, decisions, found.n_rows, fit_rows)
            return scan_streamed(
                found, images, out, sieve, options, wanted, record, cluster, fit_rows, tell
            )
    if images is None:
        images = found.images(options)
    for note in found.notes():
        tell(f"note: {note}")
    return scan(
        images,
        out,
        sieve,
        source=source,
        command=command,
        decisions=decisions,
        budget=budget,
        self_check=self_check,
        force=force,
        finish=finish,
        features=found.features(),
        record=record,
    )


def _describe(images: LabeledImages | None, blocks: Sequence[Block], tell: Any) -> None:
    if images is None:
        tell(f"{len(blocks):,} tar shards, listed by the workers")
        return
    tell(f"{len(images):,} images, {len(images.class_names)} classes. {images.rule}")
    for note in images.notes:
        tell(f"note: {note}")


def _encode(
    blocks: Sequence[Block], ledger: Ledger, sieve: LabelSieve, cluster: Cluster
) -> Gathered:
    """Compute the blocks that are not committed yet; the sieve keeps the model it loaded."""
    if isinstance(sieve.model, AbstractBackbone):
        raise InputError("on Ray, give the model by name or directory: each worker loads its own")
    settings = (sieve.model, sieve.device, sieve.dtype, sieve.offline)
    backbone = load_backbone(
        sieve.model, device=sieve.device, dtype=sieve.dtype, offline=sieve.offline
    )
    what = {"model": backbone.model_id, "dtype": str(backbone.dtype), "blocks": len(blocks)}
    ledger.claim(plan_digest(blocks, backbone.fingerprint, backbone.dtype), what)
    todo = missing_blocks(blocks, ledger)
    if len(todo) < len(blocks):
        log.warning("continuing: %d of %d blocks are there", len(blocks) - len(todo), len(blocks))
    failures: dict[int, str] = {}
    results = run_tasks(
        partial(_encoder, settings, ledger.folder.absolute()),
        todo,
        cluster,
        use_gpu=sieve.device in ("auto", "cuda"),
    )
    bar = progress(total=len(blocks), initial=len(blocks) - len(todo), desc="blocks", unit="block")
    with bar:
        for result in results:
            bar.update()
            if "failure" in result:
                failures[result["block"]] = result["failure"]
    sieve.set_params(model=backbone)
    return Gathered(ledger, complete(ledger, blocks, failures), blocks)


def _encoder(settings: tuple[Any, ...], folder: Path) -> Callable[[Block], dict[str, Any]]:
    """What a worker does with a block; runs once in each worker."""
    model, device, dtype, offline = settings
    backbone = load_backbone(model, device=device, dtype=dtype, offline=offline)
    return partial(encode_block, backbone=backbone, ledger=Ledger(folder))


def _record(found: Gathered, cluster: Cluster, fit_rows: int, seconds: float) -> dict[str, Any]:
    """What run.json says of the blocks; their hashes are those that were checked."""
    return {
        "engine": "ray",
        "address": cluster.address,
        "workers": cluster.workers,
        "rows": found.n_rows,
        "blocks": [
            {k: r[k] for k in ("block", "rows", "hash", "unreadable", "truncated")}
            for r in found.records
        ],
        "block_starts": found.ledger.starts(),
        "fit_rows": min(fit_rows, found.n_rows),
        "seconds": round(seconds, 3),
    }
