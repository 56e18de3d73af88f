"""Losses and their gradients in numbers: curves, saturation zones, bounds, the logit scale."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..core.random import torch_generator
from ..losses import make_loss

FAR = -30.0
"""Logit of the classes that play no part beside the label and its rival."""

SATURATED = 0.01
"""Share of the peak of |dL/dz_y| below which a gradient counts as gone."""

TRUE_COSINE, OTHER_COSINE, SPREAD = 0.27, 0.20, 0.02
"""Typical cosines of CLIP: of the true class, and mean and deviation of all others."""

N_DRAWS = 200
"""Images drawn for the effect of the logit scale."""


def logit_gradients(name: str, logits: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Values (B,) of a registered loss and its gradients dL/dz (B, K), by autograd.

    Parameters
    ----------
    name : str
        One of `LOSSES.names()`.
    logits : Tensor, shape (B, K)
        Scaled similarities.
    labels : Tensor of int64, shape (B,)
        Class indices.
    """
    leaf = logits.detach().clone().requires_grad_()
    values = make_loss(name)(leaf, labels)
    (gradients,) = torch.autograd.grad(values.sum(), leaf)
    return values.detach(), gradients


def probability_logits(p: Tensor, n_classes: int) -> Tensor:
    """Logits (B, K) for which class 0 has probability p and the others share the rest equally."""
    rest = torch.log1p(-p) - math.log(n_classes - 1)
    return torch.cat([p.log()[:, None], rest[:, None].expand(-1, n_classes - 1)], dim=1)


def gap_logits(gap: Tensor, n_classes: int) -> Tensor:
    """Logits (B, K) with class 0 `gap` above its one rival; all others are out of play."""
    logits = torch.full((len(gap), n_classes), FAR, dtype=gap.dtype)
    logits[:, 0], logits[:, 1] = gap, 0.0
    return logits


def loss_curves(losses: Sequence[str], classes: Sequence[int]) -> pd.DataFrame:
    """Each loss and its gradient along two paths, for each number of classes.

    Along "target-probability" the label has probability x and the other classes share the rest;
    along "gap" the label's logit is x above the only rival's.

    Parameters
    ----------
    losses : sequence of str
        Names of losses.
    classes : sequence of int
        Numbers of classes, K >= 2.

    Returns
    -------
    DataFrame
        ``path, loss, n_classes, x, p_label, value, label_gradient`` (|dL/dz_y|) and
        ``gradient_norm`` (Euclidean, of dL/dz), all in float64.
    """
    spread = torch.linspace(-12, 12, 241, dtype=torch.float64)
    paths = [
        ("target-probability", spread.sigmoid(), probability_logits),
        ("gap", spread, gap_logits),
    ]
    parts = [
        _curve(loss, x, logits_of(x, k)).assign(path=path, loss=loss, n_classes=k)
        for path, x, logits_of in paths
        for k in classes
        for loss in losses
    ]
    return pd.concat(parts, ignore_index=True)


def _curve(loss: str, x: Tensor, logits: Tensor) -> pd.DataFrame:
    value, gradient = logit_gradients(loss, logits, torch.zeros(len(x), dtype=torch.int64))
    return pd.DataFrame(
        {
            "x": x.numpy(),
            "p_label": logits.softmax(dim=1)[:, 0].numpy(),
            "value": value.numpy(),
            "label_gradient": gradient[:, 0].abs().numpy(),
            "gradient_norm": gradient.norm(dim=1).numpy(),
        }
    )


def saturation_zones(losses: Sequence[str], classes: Sequence[int]) -> pd.DataFrame:
    """Where on the gap path the label's gradient is below 1 % of its peak.

    Parameters
    ----------
    losses, classes
        See `loss_curves`.

    Returns
    -------
    DataFrame
        ``loss, n_classes, peak`` (of |dL/dz_y|), ``peak_gap``, ``wrong_gap`` and
        ``wrong_probability`` (label-minus-rival gap and label probability below which the gradient
        is gone; NaN where it never goes), ``right_gap`` (above which it is gone). Gaps are in
        units of logits, to 0.01, within -15..15.
    """
    gap = torch.linspace(-15, 15, 3001, dtype=torch.float64)
    rows = []
    for k in classes:
        for loss in losses:
            curve = _curve(loss, gap, gap_logits(gap, k))
            slope = curve["label_gradient"].to_numpy()
            alive = np.flatnonzero(slope >= SATURATED * slope.max())
            first, last = alive[0], alive[-1]
            rows.append(
                {
                    "loss": loss,
                    "n_classes": k,
                    "peak": slope.max(),
                    "peak_gap": curve["x"].iloc[slope.argmax()],
                    "wrong_gap": curve["x"].iloc[first] if first else np.nan,
                    "wrong_probability": curve["p_label"].iloc[first] if first else np.nan,
                    "right_gap": curve["x"].iloc[last] if last < len(slope) - 1 else np.nan,
                }
            )
    return pd.DataFrame(rows)


def double_softmax_bounds(classes: Sequence[int]) -> pd.DataFrame:
    """Bounds of the double-softmax cross-entropy, and how far it is from absolute error.

    Measured on the loss itself: at one-hot probabilities on the label, uniform ones, and one-hot
    ones on another class.

    Parameters
    ----------
    classes : sequence of int
        Numbers of classes.

    Returns
    -------
    DataFrame
        ``n_classes, min, uniform, max``, ``spread`` (largest minus smallest difference to
        1 - p_y), ``gradient_gap`` (largest difference of the two |dL/dz_y| on the gap path).
    """
    gap = torch.linspace(-15, 15, 1501, dtype=torch.float64)
    labels, rows = torch.zeros(3, dtype=torch.int64), []
    for k in classes:
        corners = torch.zeros(3, k, dtype=torch.float64)
        corners[0, 0], corners[2, 1] = 1000.0, 1000.0
        value, _ = logit_gradients("dspt", corners, labels)
        difference = value - logit_gradients("mae", corners, labels)[0]
        on_path = torch.zeros(len(gap), dtype=torch.int64)
        slopes = [logit_gradients(n, gap_logits(gap, k), on_path)[1][:, 0] for n in ("dspt", "mae")]
        rows.append(
            {
                "n_classes": k,
                "min": value[0].item(),
                "uniform": value[1].item(),
                "max": value[2].item(),
                "spread": (difference.max() - difference.min()).item(),
                "gradient_gap": (slopes[0] - slopes[1]).abs().max().item(),
            }
        )
    return pd.DataFrame(rows)


def typical_cosines(n_draws: int, n_classes: int, random_state: int) -> Tensor:
    """Cosines (n_draws, K) of one image each; class 0 is the true one."""
    generator = torch_generator(random_state)
    draws = torch.randn(n_draws, n_classes, generator=generator, dtype=torch.float64)
    cosines = OTHER_COSINE + SPREAD * draws
    cosines[:, 0] = TRUE_COSINE
    return cosines


def cosine_gradients(name: str, cosines: Tensor, labels: Tensor, scale: float) -> Tensor:
    """Norms (B,) of the gradient with respect to the cosines, of a loss at a logit scale.

    Parameters
    ----------
    name : str
        Name of a loss.
    cosines : Tensor, shape (B, K)
        Image-text similarities in -1..1.
    labels : Tensor of int64, shape (B,)
        Class indices.
    scale : float
        Factor on the cosines; the chain rule brings it into the gradient as well.
    """
    return scale * logit_gradients(name, scale * cosines, labels)[1].norm(dim=1)


def scale_effect(
    losses: Sequence[str],
    scales: Sequence[float],
    *,
    n_classes: int = 100,
    n_draws: int = N_DRAWS,
    random_state: int = 0,
) -> pd.DataFrame:
    """Gradients of rightly and wrongly labeled samples at several logit scales.

    Parameters
    ----------
    losses : sequence of str
        Names of losses.
    scales : sequence of float
        Logit scales.
    n_classes, n_draws : int
        Classes, and images drawn; a wrong label is a random other class.
    random_state : int
        Of the draws.

    Returns
    -------
    DataFrame
        ``loss, logit_scale, label`` ("right" or "wrong"), ``gradient_norm`` with respect to the
        cosines (median over the draws), and ``low`` and ``high`` (quartiles).
    """
    cosines = typical_cosines(n_draws, n_classes, random_state)
    labels = {
        "right": torch.zeros(n_draws, dtype=torch.int64),
        "wrong": 1 + torch.arange(n_draws) % (n_classes - 1),
    }
    rows = []
    for loss in losses:
        for scale in scales:
            for name, y in labels.items():
                norms = cosine_gradients(loss, cosines, y, scale).numpy()
                low, middle, high = np.quantile(norms, [0.25, 0.5, 0.75])
                rows.append((loss, float(scale), name, middle, low, high))
    columns = ["loss", "logit_scale", "label", "gradient_norm", "low", "high"]
    return pd.DataFrame(rows, columns=columns)
