"""A few-shot set with wrong labels on disk, where asked for after a model's own confusions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..backbones import AbstractBackbone, FeatureCache, extract_features, load_backbone
from ..core.text import counted
from ..core.validation import BoolArray, FloatArray
from ..data import LabeledImages, NoisyLabels, write_few_shot_noisy
from ..prompts import zero_shot_classifier


def write_few_shot_noise(
    images: LabeledImages,
    out: Path | str,
    *,
    shots: int = 16,
    n_wrong: int = 4,
    confusions_from: str | AbstractBackbone | None = None,
    random_state: int = 0,
    force: bool = False,
    **loading: Any,
) -> NoisyLabels:
    """Write `shots` images a class, of which `n_wrong` carry the name of another class.

    Parameters
    ----------
    images : LabeledImages
        Their labels are taken for true.
    out : Path or str
        The new folder.
    shots, n_wrong
        See `few_shot_noisy`.
    confusions_from : str or AbstractBackbone, optional
        A model whose zero-shot classifier decides the wrong labels: each is the class that it
        favours most beside the true one. Images that it cannot read are not drawn. Without a model
        all other classes are alike.
    random_state : int
        Seed.
    force : bool
        Replace an earlier folder.
    **loading
        Of `load_backbone`.

    Returns
    -------
    NoisyLabels
        Of the chosen rows.

    Raises
    ------
    InputError
        If an argument cannot be used or `out` is in the way.
    """
    confusions, notes = None, ()
    if confusions_from is not None:
        confusions, readable = _zero_shot_logits(images, load_backbone(confusions_from, **loading))
        if not readable.all():
            images = images.with_labels(np.where(readable, images.given_labels, -1))
            notes = (f"not drawn: {counted(int((~readable).sum()), 'image')} that cannot be read",)
    noisy = write_few_shot_noisy(
        images,
        out,
        shots=shots,
        n_wrong=n_wrong,
        confusions=confusions,
        random_state=random_state,
        force=force,
    )
    return replace(noisy, notes=noisy.notes + notes)


def _zero_shot_logits(
    images: LabeledImages, backbone: AbstractBackbone
) -> tuple[FloatArray, BoolArray]:
    """Logits (N, K), and which images could be read (N,)."""
    found = extract_features(images, backbone, cache=FeatureCache())
    classifier = zero_shot_classifier(backbone, images.prompt_names)
    features = torch.as_tensor(found.features, device=backbone.device)
    return classifier.logits(features).cpu().numpy(), found.ok
