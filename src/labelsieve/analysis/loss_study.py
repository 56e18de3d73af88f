"""`analyze losses`: how each loss treats samples that agree or disagree with their label."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from ..core.exceptions import InputError
from ..core.serialization import atomic_folder
from ..core.validation import check_number
from ..losses import LOSSES
from .figures import save_figure
from .folder import check_target
from .loss_curves import N_DRAWS, double_softmax_bounds, loss_curves, saturation_zones, scale_effect
from .loss_page import bounds_figure, curve_figure, scale_figure, sections
from .page import write_page
from .run_record import write_record

DEFAULT_LOSSES = ("dspt", "ce", "gce", "mae", "sce", "phuber")
DEFAULT_CLASSES = (2, 10, 100, 1000)
DEFAULT_SCALES = (1.0, 10.0, 100.0)
MAX_CLASSES = 20_000


def analyze_losses(
    out: Path | str,
    *,
    losses: Sequence[str] = DEFAULT_LOSSES,
    classes: Sequence[int] = DEFAULT_CLASSES,
    scales: Sequence[float] = DEFAULT_SCALES,
    random_state: int = 0,
    force: bool = False,
    command: str = "",
) -> Path:
    """Write data, figures and a page about losses and their gradients; no images are needed.

    Parameters
    ----------
    out : Path or str
        New folder: data.parquet (the curves), saturation.parquet, bounds.parquet, scale.parquet,
        figures and index.html.
    losses : sequence of str
        Names from `LOSSES`.
    classes : sequence of int
        Numbers of classes.
    scales : sequence of float
        Logit scales in the table of the scale's effect.
    random_state : int
        Of the drawn cosines.
    force : bool
        Replace an earlier analysis.
    command : str
        What was typed, for the record.

    Returns
    -------
    Path
        The page.

    Raises
    ------
    InputError
        If a name or number cannot be used, or the folder is in the way.
    """
    losses, classes = list(dict.fromkeys(losses)), sorted(set(classes))
    scales = sorted({float(scale) for scale in scales})
    _check(losses, classes, scales)
    target = check_target(out, force)
    curves = loss_curves(losses, classes)
    zones = saturation_zones(losses, classes)
    bounds = double_softmax_bounds(classes)
    smooth = np.unique(np.r_[np.geomspace(min(1.0, *scales), max(100.0, *scales), 25), scales])
    effect = scale_effect(losses, smooth.tolist(), n_draws=N_DRAWS, random_state=random_state)
    many = double_softmax_bounds(sorted({2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, *classes}))
    with atomic_folder(target, replace=True) as folder:
        curves.to_parquet(folder / "data.parquet", index=False)
        zones.to_parquet(folder / "saturation.parquet", index=False)
        many.to_parquet(folder / "bounds.parquet", index=False)
        effect.to_parquet(folder / "scale.parquet", index=False)
        save_figure(curve_figure(curves, "target-probability", "value"), folder, "loss")
        save_figure(
            curve_figure(curves, "target-probability", "label_gradient"), folder, "gradient"
        )
        save_figure(curve_figure(curves, "gap", "gradient_norm"), folder, "gap")
        save_figure(scale_figure(effect), folder, "scale")
        save_figure(bounds_figure(many), folder, "classes")
        facts = write_record(folder, command=command, seeds=[random_state], settings={
            "losses": losses, "classes": classes, "scales": scales,
        })  # fmt: skip
        write_page(
            folder,
            title="Losses and what they do to wrong labels",
            lead="A label that the model is sure is wrong shows itself by a small target "
            "probability, or by a rival whose logit is far above the label's. Cross-entropy "
            "pushes hardest exactly there; a robust loss lets go. All gradients here are "
            "computed by automatic differentiation in float64, with the losses that training "
            "uses.",
            sections=sections(zones, bounds, effect, scales, classes),
            facts=facts,
        )
    return target / "index.html"


def _check(losses: list[str], classes: list[int], scales: list[float]) -> None:
    for name in losses:
        LOSSES.get(name)
    for k in classes:
        check_number(k, name="classes", low=2, high=MAX_CLASSES, integer=True)
    for scale in scales:
        check_number(scale, name="scales", low=1e-3, high=1e4)
    if not (losses and classes and scales):
        raise InputError("give at least one loss, one number of classes and one scale")
