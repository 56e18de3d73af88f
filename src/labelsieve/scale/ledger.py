"""Committed blocks: a parquet file and a record with its hash, both whole or absent."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ..core.exceptions import InputError
from ..core.serialization import read_json, write_json

PLAN, STARTS = "plan.json", "starts.log"


class Ledger:
    """A folder of blocks of one plan.

    A block is committed when its record ``block-000012.json`` is there; the record is written
    after the data, each to a temporary file that is flushed to the disk and then renamed. A block
    computed twice leaves the same bytes, so it does not matter who comes last.

    Parameters
    ----------
    folder : Path
        Seen by all workers under the same path.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    def claim(self, digest: str, what: dict[str, Any]) -> None:
        """Make the folder that of a plan, or continue it.

        Raises
        ------
        InputError
            If it holds blocks of another plan.
        """
        path = self.folder / PLAN
        if not path.exists():
            self.folder.mkdir(parents=True, exist_ok=True)
            write_json(path, {"digest": digest} | what)
            return
        found = read_json(path)
        if found.get("digest") != digest:
            now = {k: v for k, v in what.items() if found.get(k) != v} or "the list of images"
            raise InputError(
                f"{self.folder} holds blocks of another scan (different: {now}); add --force to "
                "replace them, or name another folder"
            )

    def clear(self) -> None:
        """Remove all blocks and the plan."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def data(self, number: int) -> Path:
        """The file of a block."""
        return self.folder / f"block-{number:06d}.parquet"

    def record(self, number: int) -> dict[str, Any] | None:
        """What is known of a committed block; None when it is not committed.

        A block whose file is missing or of another size does not count as committed.
        """
        path = self.data(number).with_suffix(".json")
        try:
            found = read_json(path)
            whole = self.data(number).stat().st_size == found["bytes"]
        except (InputError, OSError, KeyError):
            return None
        return found if whole else None

    def forget(self, number: int) -> None:
        """Take back that a block is committed."""
        self.data(number).with_suffix(".json").unlink(missing_ok=True)

    def note_start(self, number: int) -> None:
        """Note that a worker begins a block: what is lost to faults can be counted."""
        with (self.folder / STARTS).open("a") as file:
            file.write(f"{number} {os.getpid()}\n")

    def starts(self) -> int:
        """How often a block was begun, over all runs."""
        path = self.folder / STARTS
        return len(path.read_text().splitlines()) if path.exists() else 0

    def commit(self, number: int, table: pa.Table, about: dict[str, Any]) -> dict[str, Any]:
        """Write a block and its record; returns the record.

        Raises
        ------
        OSError
            If the disk is full or gone; nothing is committed then.
        """
        _publish(self.data(number), lambda path: pq.write_table(table, path))
        content = self.data(number).read_bytes()
        record = {
            "block": number,
            "rows": table.num_rows,
            "bytes": len(content),
            "hash": hashlib.blake2b(content, digest_size=16).hexdigest(),
            **about,
        }
        _publish(self.data(number).with_suffix(".json"), lambda path: write_json(path, record))
        return record

    def read(self, record: dict[str, Any], columns: list[str] | None = None) -> pa.Table:
        """A committed block, checked against its hash.

        Raises
        ------
        InputError
            If the bytes are not those that were committed.
        """
        path = self.data(record["block"])
        try:
            content = path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {path}: {error}; run the same command again") from error
        if hashlib.blake2b(content, digest_size=16).hexdigest() != record["hash"]:
            self.forget(record["block"])
            raise InputError(
                f"{path} is damaged: its content hash is not the recorded one; run the same "
                "command again, which computes this block anew"
            )
        return pq.read_table(pa.BufferReader(content), columns=columns)


def _publish(path: Path, write: Callable[[Path], Any]) -> None:
    """Write to a temporary file, flush it to the disk, and give it its name."""
    partial = path.with_name(f".{path.stem}.{uuid.uuid4().hex[:8]}.partial")
    try:
        write(partial)
        with partial.open("rb+") as file:
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
