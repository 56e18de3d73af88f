"""Noisy labels, made once for each data set, noise and seed, and shared by all methods."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from ..core.exceptions import InputError
from ..core.serialization import atomic_path, read_json, write_json
from ..core.validation import IntArray
from ..data import LabeledImages, few_shot_noisy, inject_noise, read_noise_matrix
from .cells import Cell
from .sources import Places, all_training_images, chosen_rows, column_of


@dataclass(frozen=True, eq=False)
class NoisySet:
    """Training images with given labels, and the truth beside them.

    Attributes
    ----------
    images : LabeledImages
        With the given labels; what methods see.
    truth : ndarray of int64, shape (N,)
        True labels; for scoring only.
    hash : str
        Of the rows and labels.
    """

    images: LabeledImages
    truth: IntArray
    hash: str

    @property
    def is_wrong(self) -> np.ndarray[Any, Any]:
        """Where the given label differs from the truth, shape (N,)."""
        return self.images.given_labels != self.truth


def noise_path(places: Places, key: str) -> Path:
    """The table of noisy labels with this key."""
    return places.results / "noise" / f"{key}.parquet"


def make_noise_file(cell: Cell, places: Places) -> None:
    """Draw the noisy labels of a cell and write them, with their hash.

    Raises
    ------
    InputError
        If the data or the label column cannot be used.
    """
    images = all_training_images(cell.data, places)
    rows = chosen_rows(cell.data, images.given_labels, cell.seed)
    rows = rows[images.given_labels[rows] >= 0]
    truth = images.given_labels[rows]
    rows, truth, given, notes = _draw(cell, places, images, rows, truth)
    known = given >= 0  # a label that nobody gave is not a wrong one
    rows, truth, given = rows[known], truth[known], given[known]
    table = pd.DataFrame({"row": rows, "id": images.ids[rows], "given": given, "truth": truth})
    names = list(images.class_names)
    record = {
        **{k: v for k, v in cell.names().items() if k in ("data", "noise", "seed")},
        "settings": {"data": cell.data.settings(), "noise": cell.noise.settings()},
        "n": len(table),
        "noise_rate": float((given != truth).mean()) if len(table) else 0.0,
        "hash": content_hash(table),
        "class_names": names,
        "notes": list(notes),
    }
    path = noise_path(places, cell.noise_key)
    with atomic_path(path) as partial:
        table.to_parquet(partial, index=False)
    write_json(path.with_suffix(".json"), record)


def read_noisy(cell: Cell, places: Places) -> NoisySet:
    """The training images of a cell with their given and true labels.

    Raises
    ------
    InputError
        If the table is missing or damaged, or the data have changed since it was made.
    """
    path = noise_path(places, cell.noise_key)
    error = path.with_suffix(".error.txt")
    if error.exists():
        raise InputError(
            f"the noisy labels could not be made: {error.read_text('utf-8').splitlines()[-1]}"
        )
    if not path.exists() or not path.with_suffix(".json").exists():
        raise InputError(f"{path} is missing; run the suite again")
    table, record = pd.read_parquet(path), read_json(path.with_suffix(".json"))
    if content_hash(table) != record["hash"]:
        raise InputError(f"{path} is damaged: its hash is not {record['hash']}; delete it")
    images = all_training_images(cell.data, places)
    rows = table["row"].to_numpy()
    truth, ids = table["truth"].to_numpy(), table["id"].to_numpy(dtype=object)
    same = len(images) > rows.max(initial=-1) and list(images.class_names) == record["class_names"]
    if not same or (images.ids[rows] != ids).any() or (images.given_labels[rows] != truth).any():
        raise InputError(f"the data {cell.data.train} changed since {path} was made; delete it")
    noisy = images.subset(rows).with_labels(table["given"].to_numpy())
    return NoisySet(noisy, truth, record["hash"])


def content_hash(table: pd.DataFrame) -> str:
    """Hash of rows, ids, given and true labels."""
    state = hashlib.blake2b(digest_size=16)
    for name in ("row", "given", "truth"):
        state.update(np.ascontiguousarray(table[name].to_numpy(dtype="<i8")).tobytes())
    state.update("\0".join(table["id"]).encode("utf-8", "surrogatepass"))
    return state.hexdigest()


def _draw(
    cell: Cell, places: Places, images: LabeledImages, rows: IntArray, truth: IntArray
) -> tuple[IntArray, IntArray, IntArray, tuple[str, ...]]:
    """Rows, true labels, given labels and notes."""
    noise = cell.noise
    if noise.column is not None:
        return rows, truth, _human_labels(cell, places, images)[rows], ()
    if noise.kind == "none":
        return rows, truth, truth, ()
    if noise.kind == "few-shot":
        return _few_shot(cell, places, images)
    matrix = noise.matrix and read_noise_matrix(places.path(noise.matrix), images.class_names)
    found = inject_noise(
        truth,
        len(images.class_names),
        kind=str(noise.kind),
        rate=noise.rate,
        matrix=matrix,
        images=images.subset(rows),
        normalize=noise.normalize,
        random_state=cell.seed,
    )
    return rows, truth, found.labels, found.notes


def _few_shot(
    cell: Cell, places: Places, images: LabeledImages
) -> tuple[IntArray, IntArray, IntArray, tuple[str, ...]]:
    """Shots of each class, of which an exact number are images of other classes."""
    chosen = {}
    drawable = np.full(len(images), -1)
    some = chosen_rows(replace(cell.data, shots=None), images.given_labels, cell.seed)
    drawable[some] = images.given_labels[some]
    if cell.noise.confusions is not None:
        from ..backbones import FeatureCache, extract_features, load_backbone
        from ..prompts import zero_shot_classifier

        model = places.path(cell.noise.confusions)
        backbone = load_backbone(model, offline=places.offline)
        classifier = zero_shot_classifier(backbone, images.prompt_names)
        features = extract_features(images, backbone, cache=FeatureCache()).features
        logits = classifier.logits(torch.from_numpy(features)).numpy(force=True)
        chosen = {"kind": "confusion", "confusions": logits}
    drawn = few_shot_noisy(
        drawable,
        cell.data.shots or 1,
        cell.noise.wrong or 0,
        n_classes=len(images.class_names),
        random_state=cell.seed,
        **chosen,
    )
    return drawn.rows, images.given_labels[drawn.rows], drawn.labels, drawn.notes


def _human_labels(cell: Cell, places: Places, images: LabeledImages) -> IntArray:
    """Labels of a column of the training data, or of a table with the same rows."""
    noise = cell.noise
    if noise.file is None:
        if cell.data.classes is not None:
            raise InputError("a column of human labels and `classes` do not go together")
        other = column_of(cell.data, str(noise.column), places)
        names = other.class_names
        labels = other.given_labels
    else:
        table = pd.read_parquet(places.path(noise.file))
        wanted = [name for name in (noise.column, noise.truth_column) if name is not None]
        absent = [name for name in wanted if name not in table]
        if absent or len(table) != len(images):
            raise InputError(
                f"{noise.file} has {len(table)} rows and the columns {', '.join(table)}; expected "
                f"{len(images)} rows and {', '.join(wanted)}"
            )
        if noise.truth_column is not None:
            differ = int((table[noise.truth_column].to_numpy() != images.given_labels).sum())
            if differ:
                raise InputError(
                    f"{noise.file}: {noise.truth_column} differs from the truth in {differ} rows; "
                    "its rows are in another order than the images"
                )
        names, labels = images.class_names, table[str(noise.column)].to_numpy(dtype=np.int64)
    place = {name: k for k, name in enumerate(images.class_names)}
    unknown = [name for name in names if name not in place]
    if unknown:
        raise InputError(f"{noise.column} names classes that the truth lacks: {unknown[:5]}")
    order = np.array([place[name] for name in names] + [-1])
    return order[labels]
