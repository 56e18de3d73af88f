"""Fit one tuner to a data set and save it; the folder of a classifier."""

from __future__ import annotations

import shutil
from functools import partial
from pathlib import Path
from typing import Any

from ..backbones import AbstractBackbone
from ..core.exceptions import InputError
from ..core.serialization import read_json, write_json
from ..data import LabeledImages
from ..tuners import TUNERS, AbstractTuner
from ..tuners.saved import NETWORK
from .build import build_estimator
from .claimed import WORK, claimed

RECORD = "adaptation.json"
FILES = ("config.json", "model.safetensors", NETWORK, "README.md", RECORD)
"""What a folder may hold of a classifier; the first says that the rest is whole."""


def tune(
    images: LabeledImages,
    out: Path | str,
    *,
    tuner: str = "coop",
    params: dict[str, Any] | None = None,
    model: str | AbstractBackbone = "openai/clip-vit-base-patch16",
    device: str = "auto",
    dtype: str = "auto",
    offline: bool = False,
    random_state: int = 0,
    force: bool = False,
) -> AbstractTuner:
    """Fit a tuner and write its folder; an interrupted call resumes from its checkpoints.

    Parameters
    ----------
    images : LabeledImages
        Training images with given labels.
    out : Path or str
        Folder for the classifier.
    tuner, params
        Name and constructor arguments.
    model, device, dtype, offline
        See `load_backbone`.
    random_state : int
        Seed.
    force : bool
        Replace an existing classifier.

    Returns
    -------
    AbstractTuner
        Fitted.

    Raises
    ------
    InputError
        If `out` holds something else, another run writes to it, or a name or parameter is wrong.
    """
    out = Path(out)
    estimator = build_estimator(TUNERS, tuner, params, random_state)
    with claimed(out, partial(check_free, out, force)):
        loaded = estimator._load(model, device=device, dtype=dtype, offline=offline)
        estimator.set_params(backbone=loaded)
        estimator.fit(images, checkpoint=out / WORK / "state")
        publish(estimator, out)
    return estimator


def check_free(out: Path, force: bool) -> None:
    """Say why a classifier cannot be written to a folder.

    Raises
    ------
    InputError
        If `out` is a file, or holds a classifier (without `force`) or something else.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"the output {out} is a file; name a new folder with -o")
    finished = (out / "config.json").exists()
    found = read_json(out / "config.json") if finished else None
    if isinstance(found, dict) and "tuner" in found:
        if not force:
            raise InputError(f"{out} holds a classifier; add --force to replace it")
    elif out.exists() and any(out.iterdir()) and (finished or not (out / WORK).exists()):
        raise InputError(f"{out} holds files that are not of a classifier; name a new folder")


def publish(tuner: AbstractTuner, out: Path, record: dict[str, Any] | None = None) -> None:
    """Stage the files inside the folder, then move them into place, config.json last.

    What an earlier classifier left there goes. A kill before leaves that one whole; a kill
    meanwhile leaves the folder without a config.json, and the same call repairs it.
    """
    stage = out / WORK / "stage"
    shutil.rmtree(stage, ignore_errors=True)
    tuner.save(stage)
    if record is not None:
        write_json(stage / RECORD, record)
    for old in (out / name for name in FILES):
        if old.is_dir():
            shutil.rmtree(old)
        else:
            old.unlink(missing_ok=True)
    for item in sorted(stage.iterdir(), key=lambda path: path.name == FILES[0]):
        item.replace(out / item.name)
    shutil.rmtree(out / WORK, ignore_errors=True)
