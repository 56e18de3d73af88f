"""The nearest images by cached features; nothing is encoded for the review page."""

from __future__ import annotations

import logging
import threading
from typing import Any

import numpy as np

from ..core.exceptions import UnreadableImageError
from ..core.validation import FloatArray
from ..data import LabeledImages

logger = logging.getLogger(__name__)
SAME = 0.9999  # cosine from which two images count as copies of each other


class NeighbourFinder:
    """Nearest neighbours of single rows; the features are read at the first question.

    Parameters
    ----------
    images : LabeledImages or None
        What was scanned; None gives no neighbours.
    model_id : str
        The model of the scan, from run.json.

    Attributes
    ----------
    status : str
        "idle", "loading", "ready" or "unavailable".
    message : str
        Why there are none.
    """

    def __init__(self, images: LabeledImages | None, model_id: str):
        self.images, self.model_id = images, model_id
        self.status, self.message = "idle", ""
        self._features: FloatArray | None = None
        self._has: Any = None
        self._lock = threading.Lock()

    def start(self) -> None:
        """Read the features in a thread, once."""
        with self._lock:
            if self.status != "idle":
                return
            self.status = "loading"
        threading.Thread(target=self.load, name="neighbours", daemon=True).start()

    def load(self) -> None:
        """Read the features now; whatever goes wrong becomes the message."""
        self.status = "loading"
        try:
            self.message = self._read()
        except Exception as error:  # a page without neighbours is better than no page
            logger.warning("the features of the neighbours cannot be read: %s", error)
            self.message = f"the cached features cannot be read ({error})"
        self.status = "unavailable" if self.message else "ready"

    def _read(self) -> str:
        """Fill in the features; returns why that is not possible, or ""."""
        from ..backbones import FeatureCache

        if self.images is None:
            return "the images are not where they were"
        entries = [e for e in FeatureCache().entries() if e.model_id == self.model_id and e.images]
        again = "scan again to have neighbours"
        if not entries:
            return f"the feature cache has nothing of the model {self.model_id!r}; {again}"
        keys = _image_keys(self.images)
        best = max((_stored(entry.key) for entry in entries), key=lambda s: _covered(s, keys))
        wanted = {row: key for row, key in keys.items() if key in best.rows}
        if len(wanted) < 2:
            return f"the feature cache no longer has these images; {again}"
        features = np.zeros((len(self.images), best.width), dtype=np.float32)
        lost = best.read(wanted, features)
        has = np.zeros(len(features), dtype=bool)
        has[list(wanted)] = True
        has[lost] = False
        self._features, self._has = features, has
        return ""

    def find(self, row: int, k: int = 10) -> list[tuple[int, float]]:
        """The `k` most similar other rows with their cosine, most similar first.

        Empty while the features are not there, or when this row has none.
        """
        features = self._features
        if self.status != "ready" or features is None or not self._has[row]:
            return []
        cosine = features @ features[row]
        cosine[~self._has] = -np.inf
        cosine[row] = -np.inf
        k = min(k, int(self._has.sum()) - 1)
        top = np.argpartition(-cosine, k - 1)[:k]
        top = top[np.argsort(-cosine[top], kind="stable")]
        return [(int(other), float(cosine[other])) for other in top]


def _image_keys(images: LabeledImages) -> dict[int, bytes]:
    """Row -> key of its content; rows that cannot be read are left out."""
    from ..backbones.cache import image_key

    keys = {}
    for row in range(len(images)):
        try:
            keys[row] = image_key(images.read_bytes(row))
        except (UnreadableImageError, OSError):
            continue
    return keys


def _stored(key: str) -> Any:
    """The shards of an entry of the cache; their width is read from the first sound one."""
    from safetensors import SafetensorError, safe_open

    from ..backbones import FeatureCache
    from ..backbones.cache import FeatureStore

    folder, width = FeatureCache().path / key, 0
    for shard in sorted(folder.glob("shard-*.safetensors")):
        try:
            with safe_open(shard, framework="np") as file:
                width = int(file.get_slice("features").get_shape()[1])
                break
        except (OSError, SafetensorError):
            continue
    return FeatureStore(folder, width)


def _covered(store: Any, keys: dict[int, bytes]) -> int:
    return sum(key in store.rows for key in keys.values())
