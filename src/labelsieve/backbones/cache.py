"""Image features on disk, found again by model and image content."""

from __future__ import annotations

import hashlib
import logging
import os
import shutil
import uuid
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open

from ..core.exceptions import InputError
from ..core.serialization import read_json, save_tensors, write_json
from .base import AbstractBackbone

logger = logging.getLogger(__name__)

KEY_BYTES = 16
SHARD_ROWS = 1024


def image_key(content: bytes) -> bytes:
    """16-byte BLAKE2b digest of the bytes of an image file."""
    return hashlib.blake2b(content, digest_size=KEY_BYTES).digest()


@dataclass(frozen=True)
class CacheEntry:
    """What the cache holds for one model, precision and preprocessing.

    Attributes
    ----------
    key : str
        Folder name, as given to `FeatureCache.remove`.
    model_id, dtype : str
        The model and the precision of its image encoder.
    images, bytes : int
        Number of cached images and size on disk.
    """

    key: str
    model_id: str
    dtype: str
    images: int
    bytes: int


class FeatureCache:
    """A folder of image features, one sub-folder per backbone fingerprint.

    Parameters
    ----------
    root : str or Path, optional
        Default: the environment variable LABELSIEVE_CACHE, else XDG_CACHE_HOME/labelsieve,
        else ~/.cache/labelsieve.

    Notes
    -----
    Shards are only added, each written atomically, so a killed run keeps what it had and several
    processes can share a cache. A damaged shard is skipped and its images are encoded again.
    """

    def __init__(self, root: str | Path | None = None):
        self.root = root

    @property
    def path(self) -> Path:
        """The folder with one sub-folder per backbone."""
        if self.root is not None:
            return Path(self.root) / "features"
        named, xdg = os.environ.get("LABELSIEVE_CACHE"), os.environ.get("XDG_CACHE_HOME")
        base = Path(xdg) if xdg else Path.home() / ".cache"
        return (Path(named) if named else base / "labelsieve") / "features"

    def store(self, backbone: AbstractBackbone) -> FeatureStore:
        """The part of the cache that belongs to a backbone, created when it is not there.

        Raises
        ------
        InputError
            If the folder cannot be written.
        """
        key = hashlib.blake2b(backbone.fingerprint.encode(), digest_size=10).hexdigest()
        folder = self.path / key
        if not (folder / "meta.json").is_file():
            meta = {
                "model_id": backbone.model_id,
                "dtype": str(backbone.dtype).removeprefix("torch."),
                "fingerprint": backbone.fingerprint,
            }
            try:
                write_json(folder / "meta.json", meta)
            except OSError as error:
                raise InputError(
                    f"cannot write the feature cache {self.path}: {error}; set LABELSIEVE_CACHE "
                    "to a folder that can be written, or use no cache"
                ) from error
        return FeatureStore(folder, backbone.embed_dim)

    def entries(self) -> list[CacheEntry]:
        """What is cached, one entry per backbone, sorted by model."""
        found = [_entry(meta.parent) for meta in self.path.glob("*/meta.json")]
        return sorted(found, key=lambda entry: (entry.model_id, entry.dtype, entry.key))

    def remove(self, *keys: str) -> list[CacheEntry]:
        """Delete entries by key or model id, or all; returns what was deleted.

        Raises
        ------
        InputError
            If there is no such entry; then none is deleted.
        """
        entries = self.entries()
        chosen = [e for e in entries if not keys or {e.key, e.model_id} & set(keys)]
        found = {name for e in chosen for name in (e.key, e.model_id)}
        unknown = [key for key in keys if key not in found]
        if unknown:
            known = ", ".join(f"{e.key} ({e.model_id})" for e in entries) or "nothing"
            names = ", ".join(map(repr, unknown))
            raise InputError(f"the cache holds no {names}; it holds {known}")
        for entry in chosen:
            shutil.rmtree(self.path / entry.key)
        return chosen


class FeatureStore:
    """The shards of one backbone.

    Parameters
    ----------
    folder : Path
        Where the shards are.
    width : int
        Number of columns D of the features.
    """

    def __init__(self, folder: Path, width: int):
        self.folder = folder
        self.width = width
        self._rows: dict[bytes, tuple[Path, int]] | None = None
        self._keys: list[bytes] = []
        self._features: list[np.ndarray] = []

    @property
    def rows(self) -> dict[bytes, tuple[Path, int]]:
        """Image key -> (shard, row), read at first use."""
        if self._rows is None:
            self._rows = {}
            for shard in sorted(self.folder.glob("shard-*.safetensors")):
                for row, key in enumerate(_shard_keys(shard, self.width)):
                    self._rows[key] = (shard, row)
        return self._rows

    def read(self, wanted: dict[int, bytes], out: np.ndarray) -> list[int]:
        """Fill rows of `out` from the shards, one shard at a time.

        Parameters
        ----------
        wanted : dict of int to bytes
            Row of `out` to image key; every key is in `rows`.
        out : ndarray
            Shape (N, D), float32, changed in place.

        Returns
        -------
        list of int
            The rows whose shard could not be read after all.
        """
        by_shard: dict[Path, list[tuple[int, int]]] = {}
        for target, key in wanted.items():
            shard, row = self.rows[key]
            by_shard.setdefault(shard, []).append((target, row))
        lost: list[int] = []
        for shard, pairs in by_shard.items():
            targets, sources = map(list, zip(*pairs, strict=True))
            try:
                with safe_open(shard, framework="np") as file:
                    out[targets] = file.get_tensor("features")[sources]
            except (OSError, SafetensorError) as error:
                _warn_damaged(shard, error)
                lost += targets
        return lost

    def add(self, keys: list[bytes], features: np.ndarray) -> None:
        """Keep new features (n, D); they reach the disk every 1,024 rows and at `flush`."""
        self._keys += keys
        self._features.append(features)
        if len(self._keys) >= SHARD_ROWS:
            self.flush()

    def flush(self) -> None:
        """Write what was added since the last shard; a full disk costs the cache, not the run."""
        if not self._keys:
            return
        keys = np.frombuffer(b"".join(self._keys), dtype=np.uint8).reshape(-1, KEY_BYTES)
        tensors = {
            "keys": torch.from_numpy(keys.copy()),
            "features": torch.from_numpy(np.concatenate(self._features)),
        }
        self._keys, self._features = [], []
        try:
            save_tensors(self.folder / f"shard-{uuid.uuid4().hex}.safetensors", tensors)
        except (OSError, SafetensorError) as error:
            logger.warning("features of %d images could not be cached: %s", len(keys), error)


def _shard_keys(shard: Path, width: int) -> list[bytes]:
    try:
        with safe_open(shard, framework="np") as file:
            keys = file.get_tensor("keys")
            shape = tuple(file.get_slice("features").get_shape())
    except (OSError, SafetensorError) as error:
        _warn_damaged(shard, error)
        return []
    if keys.shape[1:] != (KEY_BYTES,) or shape != (len(keys), width):
        _warn_damaged(shard, ValueError(f"unexpected shapes {keys.shape} and {shape}"))
        return []
    return [key.tobytes() for key in keys]


def _warn_damaged(shard: Path, error: Exception) -> None:
    logger.warning("ignoring the damaged cache file %s (%s); its images are redone", shard, error)


def _entry(folder: Path) -> CacheEntry:
    try:
        meta = read_json(folder / "meta.json")
    except InputError:
        meta = {}
    images = size = 0
    # Only whole shards: a partial one gets its name while another process writes it.
    for shard in folder.glob("shard-*.safetensors"):
        try:
            size += shard.stat().st_size
            with safe_open(shard, framework="np") as file:
                images += int(file.get_slice("keys").get_shape()[0])
        except (OSError, SafetensorError) as error:
            _warn_damaged(shard, error)
    return CacheEntry(folder.name, meta.get("model_id", "?"), meta.get("dtype", "?"), images, size)
