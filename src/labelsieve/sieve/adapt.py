"""Model adaptation: fine-tune an image encoder on the labels that are believed."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..backbones import AbstractBackbone
from ..backbones.image_models import ImageModel, load_encoder
from ..core.serialization import read_json
from ..data import LabeledImages
from ..detectors import LabelIssues
from ..tuners import TUNERS, AbstractTuner
from .believed import believed_images
from .build import build_estimator
from .claimed import WORK, claimed
from .tune import check_free, publish

DEFAULT = "openai/clip-vit-base-patch16"


@dataclass(frozen=True)
class Adaptation:
    """A finished adaptation.

    Attributes
    ----------
    tuner : AbstractTuner
        Fitted.
    n_images, n_kept, n_relabeled : int
        Images given, trained on, and of these with a suggested label.
    """

    tuner: AbstractTuner
    n_images: int
    n_kept: int
    n_relabeled: int


def adapt(
    images: LabeledImages,
    issues: LabelIssues | None,
    out: Path | str,
    *,
    backbone: str | AbstractBackbone | ImageModel = DEFAULT,
    revision: str | None = None,
    baseline: str = "ce",
    relabel: bool = False,
    params: dict[str, Any] | None = None,
    device: str = "auto",
    dtype: str = "auto",
    offline: bool = False,
    random_state: int = 0,
    force: bool = False,
    accelerator: Any = None,
) -> Adaptation:
    """Fine-tune on the believed labels and write a classifier; resumes after an interruption.

    Parameters
    ----------
    images : LabeledImages
        Training images with given labels.
    issues : LabelIssues or None
        What a scan of them found; None trains on all given labels.
    out : Path or str
        Folder for the classifier.
    backbone, revision, device, dtype, offline
        See `load_encoder`.
    baseline, params
        Arguments of `FineTune`.
    relabel : bool
        Use the suggested label of images to be relabeled, rather than leave them out.
    random_state : int
        Seed.
    force : bool
        Replace an existing classifier.
    accelerator : accelerate.Accelerator, optional
        Shares the training among processes, all of which must make the same call; the main one
        writes.

    Raises
    ------
    InputError
        If the issues are of other data, `out` holds something else, another run writes to it, or
        a parameter is wrong.
    """
    out = Path(out)
    given = {"baseline": baseline} | (params or {})
    tuner = build_estimator(TUNERS, "fft", given, random_state)
    check = partial(check_free, out, force)
    is_main = accelerator is None or accelerator.is_main_process
    with claimed(out, check) if is_main else nullcontext(check()):
        chosen = believed_images(images, issues, relabel=relabel)
        if accelerator is not None:
            device = str(accelerator.device)
        tuner.set_params(
            backbone=load_encoder(
                backbone, device=device, dtype=dtype, offline=offline, revision=revision
            )
        )
        tuner.fit(chosen.images, checkpoint=out / WORK / "state", accelerator=accelerator)
        n_kept = len(chosen.images) - tuner.n_unreadable_
        result = Adaptation(tuner, len(images), n_kept, chosen.n_relabeled)
        if is_main:
            record = {"n_images": len(images), "n_kept": n_kept}
            record |= {"n_relabeled": chosen.n_relabeled, "by_issues": issues is not None}
            publish(tuner, out, record)
        if accelerator is not None:
            accelerator.wait_for_everyone()
    return result


def model_of_scan(issues: Path | str) -> tuple[str, str | None] | None:
    """The model behind a file of issues, or the folder of a scan: (origin, commit).

    None where no record of the scan lies beside it.
    """
    folder = Path(issues) if Path(issues).is_dir() else Path(issues).parent
    for record in (folder / "model" / "config.json", folder / "run.json"):
        if record.exists():
            model = read_json(record)["model"]
            return model.get("origin", model["id"]), model["commit"]
    return None
