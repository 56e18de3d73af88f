"""What the clean and the noisy samples do to the prompt at one moment of training."""

from __future__ import annotations

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from ..core.validation import BoolArray
from .sample_gradients import ForwardPass, group_gradient, sample_gradients

GROUPS = ("clean", "noisy")


def sample_records(found: ForwardPass, labels: Tensor, is_wrong: BoolArray) -> pd.DataFrame:
    """One row a sample.

    Parameters
    ----------
    found : ForwardPass
        From `forward_pass`.
    labels : Tensor of int64, shape (N,)
        Given labels.
    is_wrong : ndarray of bool, shape (N,)
        Which of them are wrong.

    Returns
    -------
    DataFrame
        ``group`` ("clean" or "noisy"), ``loss_value``, ``p_given`` (probability of the given
        label), ``fitted`` (whether it is the predicted one), ``gradient_norm`` and ``cosine`` (of
        the sample's gradient to that of all samples together).
    """
    total = group_gradient(found, torch.ones(len(labels), dtype=torch.bool))
    parts = [(g.norm(dim=1), g @ total) for _, g in sample_gradients(found)]
    norms, dots = (torch.cat(column) for column in zip(*parts, strict=True))
    cosines = dots / (norms * total.norm()).clamp_min(torch.finfo(norms.dtype).tiny)
    p = found.logits.softmax(dim=1)
    p_given = p.gather(1, labels[:, None])[:, 0]
    return pd.DataFrame(
        {
            "group": np.where(is_wrong, *reversed(GROUPS)),
            "loss_value": found.losses.cpu().numpy(),
            "p_given": p_given.cpu().numpy(),
            "fitted": (p.argmax(dim=1) == labels).cpu().numpy(),
            "gradient_norm": norms.cpu().numpy(),
            "cosine": cosines.cpu().numpy(),
        }
    )


def group_records(
    found: ForwardPass, samples: pd.DataFrame, is_wrong: BoolArray
) -> list[dict[str, float | str]]:
    """One record a group, with g_i the gradient of sample i and G that of all samples together.

    Parameters
    ----------
    found : ForwardPass
        From `forward_pass`.
    samples : DataFrame
        From `sample_records`.
    is_wrong : ndarray of bool, shape (N,)
        Which given labels are wrong.

    Returns
    -------
    list of dict
        ``group``, ``n``, ``sum_norm`` (|sum g_i|), ``mean_norm`` (mean of |g_i|), ``coherence``
        (|sum g_i| / sum |g_i|: 1 when all point the same way), ``share`` (projection of the
        group's sum on G as a share of |G|; both groups add up to 1), ``mean_cosine`` to G, and
        ``fitted`` (share of given labels that are predicted). NaN for an empty group.
    """
    mask = torch.as_tensor(is_wrong, device=found.features.device)
    sums = {"clean": group_gradient(found, ~mask), "noisy": group_gradient(found, mask)}
    total = sums["clean"] + sums["noisy"]
    records = []
    for group in GROUPS:
        of_group = samples.loc[samples["group"] == group]
        length, norms = float(sums[group].norm()), of_group["gradient_norm"].to_numpy(float)
        records.append(
            {
                "group": group,
                "n": len(of_group),
                "sum_norm": length,
                "mean_norm": _ratio(norms.sum(), len(norms)),
                "coherence": _ratio(length, norms.sum()),
                "share": _ratio(float(sums[group] @ total), float(total @ total)),
                "mean_cosine": _ratio(of_group["cosine"].to_numpy(float).sum(), len(norms)),
                "fitted": _ratio(float(of_group["fitted"].sum()), len(norms)),
            }
        )
    return records


def compare_groups(groups: pd.DataFrame, keys: list[str]) -> pd.DataFrame:
    """Clean against noisy, one row a measurement.

    Parameters
    ----------
    groups : DataFrame
        Records of `group_records`, with the columns `keys` that tell measurements apart.
    keys : list of str
        Such as seed, loss and epoch.

    Returns
    -------
    DataFrame
        `keys`, ``noise_rate`` (share of wrong labels), ``sum_ratio`` (|sum clean| / |sum noisy|),
        ``suppression`` (mean |g| of noisy over that of clean samples: below 1, noisy samples are
        held down), ``noisy_share`` (of the update), ``clean_coherence``, ``noisy_coherence``,
        ``clean_cosine``, ``noisy_cosine`` and ``noisy_fitted``.
    """
    clean, noisy = (groups.loc[groups["group"] == g].set_index(keys) for g in GROUPS)
    return pd.DataFrame(
        {
            "noise_rate": noisy["n"] / (noisy["n"] + clean["n"]),
            "sum_ratio": clean["sum_norm"] / noisy["sum_norm"].where(noisy["n"] > 0),
            "suppression": noisy["mean_norm"] / clean["mean_norm"],
            "noisy_share": noisy["share"],
            "clean_coherence": clean["coherence"],
            "noisy_coherence": noisy["coherence"],
            "clean_cosine": clean["mean_cosine"],
            "noisy_cosine": noisy["mean_cosine"],
            "noisy_fitted": noisy["fitted"],
        }
    ).reset_index()


def _ratio(part: float, whole: float) -> float:
    return float(part / whole) if whole else float("nan")
