"""Fit one tuner to a data set and save it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from ..backbones import AbstractBackbone
from ..core.exceptions import InputError
from ..data import LabeledImages
from ..tuners import TUNERS, AbstractTuner
from .build import build_estimator

WORK = ".work"


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
        If `out` holds something else, or a name or parameter is wrong.
    """
    out = Path(out)
    estimator = build_estimator(TUNERS, tuner, params, random_state)
    if (out / "config.json").exists() and not force:
        raise InputError(f"{out} holds a classifier; add --force to replace it")
    if out.exists() and not out.is_dir():
        raise InputError(f"the output {out} is a file; name a new folder with -o")
    ours = {"config.json", WORK}
    if out.exists() and any(out.iterdir()) and not any((out / name).exists() for name in ours):
        raise InputError(f"{out} holds files that are not of a classifier; name a new folder")
    loaded = estimator._load(model, device=device, dtype=dtype, offline=offline)
    estimator.set_params(backbone=loaded)
    estimator.fit(images, checkpoint=out / WORK)
    estimator.save(out)
    shutil.rmtree(out / WORK, ignore_errors=True)
    return estimator
