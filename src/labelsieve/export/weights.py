"""Class weights as plain tensors: all that is needed beside the image encoder."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..core.exceptions import InputError
from ..core.serialization import atomic_path, load_tensors, save_tensors, write_json
from .saved_classifier import origin_of, saved_classifier

TENSORS, RECORD = "weights.safetensors", "weights.json"
VISUAL = "visual_tuning."
BESIDE = ("context", "name_tokens", "text_tower.", VISUAL)
"""Tensors of a saved classifier that its class weights already contain, or that go along."""

TEXT_USE = (
    "probabilities = softmax(logit_scale * f @ weights.T + logit_bias), with f the L2-normalised "
    "image features of the model, (N, D), and weights (K, D) in the order of class_names"
)
HEAD_USE = (
    "probabilities = softmax(h @ weight.T + bias), with h the output of the model's vision tower "
    "before its projection (pooler_output), (N, W), and weight (K, W) in the order of class_names"
)


def export_weights(source: Path, out: Path) -> list[Path]:
    """Write the head of a classifier as safetensors with a JSON record; no model is loaded.

    Parameters
    ----------
    source : Path
        Folder of a saved classifier, or of a scan.
    out : Path
        Folder to write: ``weights.safetensors`` and ``weights.json``. Of an image classification
        model of transformers, the whole model instead, in a folder that transformers loads.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        If the classifier is more than a linear head.
    """
    folder, config = saved_classifier(source)
    record = origin_of(config)
    if network := config.get("network"):
        return _copy(folder / network, out, record)
    found = load_tensors(folder / "model.safetensors")
    if "head.weight" in found:
        head = {"weight": found.pop("head.weight"), "bias": found.pop("head.bias")}
        use, visual = HEAD_USE, {k.removeprefix("tuning."): v for k, v in found.items()}
    else:
        head = _text_head(found, config)
        use = TEXT_USE
        visual = {k.removeprefix(VISUAL): v for k, v in found.items() if k.startswith(VISUAL)}
        record |= {"logit_scale": config["logit_scale"], "logit_bias": config["logit_bias"]}
    return _write(out, head, visual, record | {"use": use}, config["params"])


def _text_head(found: dict[str, Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
    """The tensors of a text classifier, those of `TextClassifier.to_tensors`."""
    weights = found.pop("class_weights", None)
    others = sorted(name for name in found if not name.startswith(BESIDE))
    if weights is None or others:
        raise InputError(
            f"the classifier of the tuner {config['tuner']!r} is not a linear head (it also "
            f"consists of {', '.join(others) or 'other tensors'}); export it with --format onnx"
        )
    scalars = {name: torch.tensor(config[name]).double() for name in ("logit_scale", "logit_bias")}
    return {"weights": weights, **scalars}


def _write(
    out: Path,
    head: dict[str, Tensor],
    visual: dict[str, Tensor],
    record: dict[str, Any],
    params: dict[str, Any],
) -> list[Path]:
    record["visual_tuning"] = None
    if visual:
        record["visual_tuning"] = {
            "name": params["visual_tuning"],
            "params": params.get("visual_tuning_params"),
            "tensors": [f"{VISUAL}{name}" for name in visual],
            "note": "the image encoder was adapted; features of the original one do not fit",
        }
    out.mkdir(parents=True, exist_ok=True)
    save_tensors(out / TENSORS, head | {f"{VISUAL}{name}": value for name, value in visual.items()})
    write_json(out / RECORD, record)
    return [out / TENSORS, out / RECORD]


def _copy(network: Path, out: Path, record: dict[str, Any]) -> list[Path]:
    """The folder of a transformers model, file by file, and the record."""
    out.mkdir(parents=True, exist_ok=True)
    written = []
    for file in sorted(network.iterdir()):
        with atomic_path(out / file.name) as partial:
            shutil.copyfile(file, partial)
        written.append(out / file.name)
    use = "transformers.AutoModelForImageClassification.from_pretrained(this folder)"
    write_json(out / RECORD, record | {"use": use})
    return [*written, out / RECORD]
