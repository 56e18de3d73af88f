"""`analyze gradients`: what clean and noisy samples do to the prompt while it is tuned."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..backbones import AbstractBackbone, load_backbone
from ..core.exceptions import gather
from ..core.progress import progress
from ..core.serialization import atomic_folder
from ..core.validation import BoolArray, check_number
from ..data import LabeledImages
from ..losses import LOSSES
from ..prompts import CLASS_TOKENS
from ..tuners.inputs import FitData, fit_data
from ..tuners.training import train
from .coop import coop
from .figures import save_figure
from .folder import check_target
from .gradient_page import figures, sections
from .gradient_records import compare_groups, group_records, sample_records
from .noisy_rows import draw_given, draw_noisy, labels_in_order
from .page import write_page
from .run_record import write_record
from .sample_gradients import forward_pass

DEFAULT_LOSSES = ("ce", "dspt")
KEYS = ["seed", "loss", "class_tokens", "epoch"]


def analyze_gradients(
    images: LabeledImages,
    out: Path | str,
    *,
    truth: LabeledImages | None = None,
    model: str | AbstractBackbone = "openai/clip-vit-base-patch16",
    losses: Sequence[str] = DEFAULT_LOSSES,
    class_tokens: Sequence[str] = ("names",),
    shots: int | None = 16,
    epochs: int | None = None,
    params: dict[str, Any] | None = None,
    noise: str = "symmetric",
    rate: float = 0.4,
    seeds: int = 1,
    random_state: int = 0,
    force: bool = False,
    command: str = "",
    **loading: Any,
) -> Path:
    """Tune prompts with `CoOp` and measure every sample's gradient before and after each epoch.

    Which labels are wrong is known here, and used to compare groups; the tuner gets the given
    labels only.

    Parameters
    ----------
    images : LabeledImages
        Images; with `truth` their labels are the given ones, without it they are taken for true
        and noise is injected.
    out : Path or str
        New folder: data.parquet (one row a group and measurement), samples.parquet (one row a
        sample and measurement), figures and index.html.
    truth : LabeledImages, optional
        The same rows with their true labels.
    model : str or AbstractBackbone
        See `load_backbone`, which also takes `loading`.
    losses, class_tokens : sequence of str
        Every combination is tuned.
    shots : int or None
        Images a class; None takes all.
    epochs : int, optional
        Passes over the rows; unset, what `CoOp` would do.
    params : dict, optional
        Further constructor arguments of `CoOp`.
    noise, rate
        Kind and share of injected noise, exact among the shots; see `inject_noise`.
    seeds : int
        Number of repetitions, with seeds from `random_state` on.
    random_state : int
        First seed; decides shots, noise, and training.
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
        If an argument cannot be used, or the folder is in the way.
    """
    losses, class_tokens = list(dict.fromkeys(losses)), list(dict.fromkeys(class_tokens))
    _check(losses, class_tokens, shots, seeds, rate, images, truth)
    target = check_target(out, force)
    options = {**({} if epochs is None else {"epochs": epochs}), **(params or {})}
    for name in class_tokens:  # a wrong parameter shows before anything is computed
        coop(losses[0], name, options, shots=shots, seed=random_state)
    backbone = load_backbone(model, **loading)
    true = None if truth is None else labels_in_order(truth, images.class_names)
    samples, groups = [], []
    for seed in range(random_state, random_state + seeds):
        if true is None:
            drawn = draw_noisy(images, shots=shots, kind=noise, rate=rate, seed=seed)
        else:
            drawn = draw_given(images.given_labels, true, shots=shots, seed=seed)
        data = fit_data(images.subset(drawn.rows).with_labels(drawn.given), None, backbone, None)
        runs = [(loss, tokens) for loss in losses for tokens in class_tokens]
        for loss, tokens in progress(runs, desc=f"tuning and measuring, seed {seed}", unit="run"):
            tuner = coop(loss, tokens, options, shots=shots, seed=seed)
            found = watch(tuner, data, drawn.is_wrong[data.rows], backbone)
            place = {"seed": seed, "loss": loss, "class_tokens": tokens}
            rows = np.tile(drawn.rows[data.rows], found[0]["epoch"].nunique())
            samples.append(found[0].assign(row=rows, **place))
            groups.append(found[1].assign(**place))
    settings = {
        "model": backbone.model_id,
        "losses": losses,
        "class_tokens": class_tokens,
        "shots": shots,
        "epochs": int(groups[0]["epoch"].max()),
        "labels": f"{noise} noise, rate {rate:g}" if truth is None else "given, truth known",
        **(params or {}),
    }
    return _write(target, pd.concat(samples), pd.concat(groups), settings, command)


def watch(
    tuner: Any, data: FitData, is_wrong: BoolArray, backbone: AbstractBackbone
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Tune a prompt and measure the gradients of all its rows at the start and after each epoch.

    Parameters
    ----------
    tuner : CoOp
        Unfitted; it trains as `fit_usable` would.
    data : FitData
        Its rows, with given labels.
    is_wrong : ndarray of bool, shape (N,)
        Which given labels are wrong; looked at only to sort what was measured.
    backbone : AbstractBackbone
        The loaded model.

    Returns
    -------
    samples, groups : DataFrame
        Records of `sample_records` and `group_records` with an ``epoch`` column (epochs done).
    """
    data, module, plan = tuner.training(data, backbone)
    samples, groups = [], []

    def measure(record: dict[str, float]) -> None:
        found = forward_pass(
            backbone, module.learner, module.images.features, module.labels, module.loss
        )
        of_samples = sample_records(found, module.labels, is_wrong)
        done = {"epoch": int(record["epoch"]) + 1}
        of_groups = pd.DataFrame(group_records(found, of_samples, is_wrong))
        samples.append(of_samples.assign(**done))
        groups.append(of_groups.assign(**done))

    measure({"epoch": -1})
    train(
        module,
        len(data.labels),
        plan,
        random_state=tuner.random_state,
        callbacks=(measure,),
        description=f"tuning prompts ({tuner.loss})",
    )
    return pd.concat(samples, ignore_index=True), pd.concat(groups, ignore_index=True)


def _write(
    target: Path,
    samples: pd.DataFrame,
    groups: pd.DataFrame,
    settings: dict[str, Any],
    command: str,
) -> Path:
    compared = compare_groups(groups, KEYS)
    seeds = sorted({int(seed) for seed in groups["seed"]})
    with atomic_folder(target, replace=True) as folder:
        groups.to_parquet(folder / "data.parquet", index=False)
        samples.to_parquet(folder / "samples.parquet", index=False)
        for name, figure in figures(samples, groups, compared).items():
            save_figure(figure, folder, name)
        facts = write_record(folder, command=command, seeds=seeds, settings=settings)
        write_page(
            folder,
            title="Clean against noisy gradients on the prompt",
            lead="Prompts were tuned on labels of which some are wrong. At the start and after "
            "each epoch the gradient of every training sample on the trained tokens was "
            "computed, with the loss that trains them. Which labels are wrong is known to this "
            "analysis, and was not known to the tuner. The total is the sum over all samples; "
            "momentum, weight decay and the learning rate are left out.",
            sections=sections(groups, compared),
            facts=facts,
        )
    return target / "index.html"


def _check(
    losses: list[str],
    class_tokens: list[str],
    shots: int | None,
    seeds: int,
    rate: float,
    images: LabeledImages,
    truth: LabeledImages | None,
) -> None:
    for name in losses:
        LOSSES.get(name)
    check_number(seeds, name="seeds", low=1, integer=True)
    check_number(rate, name="rate", low=0, high=1)
    if shots is not None:
        check_number(shots, name="shots", low=1, integer=True)
    problems = [
        f"unknown class tokens {name!r}; choose of {', '.join(CLASS_TOKENS)}"
        for name in class_tokens
        if name not in CLASS_TOKENS
    ]
    if truth is not None and len(truth) != len(images):
        problems.append(f"truth has {len(truth)} rows, but the images are {len(images)}")
    if not (losses and class_tokens):
        problems.append("give at least one loss and one kind of class tokens")
    gather(problems, what="analyze gradients")
