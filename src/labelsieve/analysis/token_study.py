"""`analyze class-tokens`: which part of a prompt makes its tuning resist wrong labels."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from ..backbones import AbstractBackbone, load_backbone
from ..core.exceptions import InputError
from ..core.progress import progress
from ..core.serialization import atomic_folder
from ..core.validation import check_number
from ..data import LabeledImages
from ..data.splits import stratified_split
from ..losses import LOSSES
from ..tuners import TUNERS
from ..tuners.inputs import FitData, fit_data
from .cells import Cells
from .coop import coop
from .figures import save_figure
from .folder import WORK, check_target
from .noisy_rows import draw_noisy, labels_in_order
from .page import write_page
from .run_record import write_record
from .token_page import accuracy_figure, sections, summarise
from .token_variants import VARIANTS, get_variants

DEFAULT_RATES = (0.0, 0.25, 0.5)
HELD_OUT = 0.25


def analyze_class_tokens(
    images: LabeledImages,
    out: Path | str,
    *,
    test: LabeledImages | None = None,
    model: str | AbstractBackbone = "openai/clip-vit-base-patch16",
    variants: Sequence[str] = tuple(VARIANTS),
    rates: Sequence[float] = DEFAULT_RATES,
    noise: str = "symmetric",
    loss: str = "ce",
    shots: int | None = 16,
    epochs: int | None = None,
    params: dict[str, Any] | None = None,
    seeds: int = 3,
    random_state: int = 0,
    force: bool = False,
    command: str = "",
    **loading: Any,
) -> Path:
    """Tune each kind of prompt at each noise rate and measure its accuracy on trusted labels.

    Every finished cell is kept in ``out/.work``, so an interrupted run continues.

    Parameters
    ----------
    images : LabeledImages
        Training images; their labels are taken for true before noise is injected.
    out : Path or str
        New folder: data.parquet (one row a cell), table.parquet (mean and deviation over seeds),
        figures and index.html.
    test : LabeledImages, optional
        Images with trusted labels; without them a quarter of `images` is held out.
    model : str or AbstractBackbone
        See `load_backbone`, which also takes `loading`.
    variants : sequence of str
        Names from `VARIANTS`.
    rates : sequence of float
        Shares of wrong labels, exact among the shots.
    noise : str
        Kind of noise; see `inject_noise`.
    loss : str
        The same for all variants.
    shots : int or None
        Images a class; None takes all.
    epochs : int, optional
        Passes over the rows; unset, what `CoOp` would do.
    params : dict, optional
        Further constructor arguments of `CoOp`.
    seeds : int
        Repetitions; a seed decides shots, noise and training.
    random_state : int
        First seed.
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
    chosen, rates = get_variants(list(variants)), sorted({float(rate) for rate in rates})
    _check(rates, loss, shots, seeds)
    target = check_target(out, force)
    options = {**({} if epochs is None else {"epochs": epochs}), **(params or {})}
    for variant in chosen.values():  # a wrong parameter shows before anything is computed
        given = {**options, **variant.params}
        coop(loss, variant.class_tokens, given, shots=shots, seed=random_state)
    backbone = load_backbone(model, **loading)
    tested = "the test set"
    if test is None:
        kept, held = stratified_split(images.given_labels, 1 - HELD_OUT, random_state)
        images, test, tested = images.subset(kept), images.subset(held), "a held-out quarter"
    labels = labels_in_order(test, images.class_names)
    same = {"class_names": images.class_names, "prompt_names": images.prompt_names}
    trusted = fit_data(replace(test, given_labels=labels, **same), None, backbone, None)
    settings = {
        "model": backbone.model_id,
        "loss": loss,
        "variants": list(chosen),
        "rates": rates,
        "noise": noise,
        "shots": shots,
        "accuracy on": f"{tested}, {len(trusted.labels):,} images, last epoch",
        **options,
    }
    run_seeds = list(range(random_state, random_state + seeds))
    rows = list(zip(map(str, images.ids), images.given_labels.tolist(), strict=True))
    identity = [settings, backbone.fingerprint, trusted.digest(), rows]
    cells = Cells(target / WORK, identity).load()
    for rate, seed in progress(
        [(rate, seed) for rate in rates for seed in run_seeds], desc="tuning prompts", unit="draw"
    ):
        missing = {name: v for name, v in chosen.items() if (rate, seed, name) not in cells}
        if not missing:
            continue
        drawn = draw_noisy(images, shots=shots, kind=noise, rate=rate, seed=seed)
        data = fit_data(images.subset(drawn.rows).with_labels(drawn.given), None, backbone, None)
        draw = {"rate": rate, "seed": seed, "wrong": float(drawn.is_wrong[data.rows].mean())}
        for name, variant in missing.items():
            given = {**options, **variant.params}
            tuner = coop(loss, variant.class_tokens, given, shots=shots, seed=seed)
            record = {"variant": name, **draw, **_measure(tuner, data, trusted, backbone)}
            cells.add((rate, seed, name), record)
    zero_shot = TUNERS.get("zero-shot")(backbone)
    reference = _measure(zero_shot, trusted, trusted, backbone)["accuracy"]
    keys = [(rate, seed, name) for name in chosen for rate in rates for seed in run_seeds]
    measured = pd.DataFrame(cells.in_order(keys))
    return _write(target, measured, reference, settings, run_seeds, command)


def _check(rates: list[float], loss: str, shots: int | None, seeds: int) -> None:
    LOSSES.get(loss)
    for rate in rates:
        check_number(rate, name="rates", low=0, high=1)
    if not rates:
        raise InputError("give at least one noise rate")
    if shots is not None:
        check_number(shots, name="shots", low=1, integer=True)
    check_number(seeds, name="seeds", low=1, integer=True)


def _measure(
    tuner: Any, data: FitData, trusted: FitData, backbone: AbstractBackbone
) -> dict[str, float]:
    """Fit to given labels; accuracy on trusted ones, and seconds."""
    started = time.perf_counter()
    fitted = tuner.fit_usable(data, backbone)
    seconds = time.perf_counter() - started
    predicted = fitted.classifier_.predict_proba(trusted.features).argmax(axis=1)
    accuracy = float((predicted == trusted.labels).mean())
    return {"accuracy": accuracy, "seconds": round(seconds, 2)}


def _write(
    target: Path,
    measured: pd.DataFrame,
    zero_shot: float,
    settings: dict[str, Any],
    seeds: list[int],
    command: str,
) -> Path:
    table = summarise(measured)
    with atomic_folder(target, replace=True) as folder:
        measured.assign(zero_shot=zero_shot).to_parquet(folder / "data.parquet", index=False)
        table.to_parquet(folder / "table.parquet", index=False)
        save_figure(accuracy_figure(table, zero_shot), folder, "accuracy")
        facts = write_record(folder, command=command, seeds=seeds, settings=settings)
        write_page(
            folder,
            title="Which part of a prompt resists wrong labels",
            lead="Prompts of several kinds were tuned on the same images with the same wrong "
            "labels, one training for each kind, noise rate and seed. Fixed names tie every class "
            "to what the model knew before; this study takes them away, trades them, or lets them "
            "be tuned.",
            sections=sections(table, zero_shot, str(settings["accuracy on"])),
            facts=facts,
        )
    return target / "index.html"
