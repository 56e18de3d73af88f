"""A classifier as one ONNX file: pixels in, logits and probabilities out."""

from __future__ import annotations

import json
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..core.exceptions import InputError, LabelSieveError, MissingExtraError
from ..core.serialization import write_json
from ..tuners import AbstractTuner, load_tuner
from .deployed import Deployed, deployed
from .preprocessing import describe_preprocessing
from .saved_classifier import origin_of, saved_classifier

MODEL, RECORD = "model.onnx", "model.json"
TOLERANCE = 1e-4
ONE_FILE = 1_800_000_000
"""Bytes of weights that still fit into the ONNX file itself; protobuf ends at 2 GiB."""


def export_onnx(
    source: Path,
    out: Path,
    *,
    backbone: str | None = None,
    offline: bool = False,
    check: bool = True,
) -> list[Path]:
    """Write image encoder and head as one ONNX graph of any batch size, with its preprocessing.

    The exporter is the one on `torch.export`: the older, tracing one is deprecated since torch 2.9
    and refuses the parameters that visual tunings lend to the encoder.

    Parameters
    ----------
    source : Path
        Folder of a saved classifier, or of a scan.
    out : Path
        Folder to write: ``model.onnx`` and ``model.json``; ``model.onnx.data`` as well for very
        large models.
    backbone : str, optional
        Model to use in place of the recorded one.
    offline : bool
        Do not ask the hub.
    check : bool
        Run the file with onnxruntime and compare it with torch before anything is published.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    MissingExtraError
        If onnx, onnxscript or onnxruntime is not installed.
    InputError
        If the source is no classifier, or its model cannot be expressed in ONNX.
    LabelSieveError
        If the written file computes something else.
    """
    _require()
    _, config = saved_classifier(source)
    tuner = load_tuner(source, backbone=backbone, device="cpu", offline=offline)
    with deployed(tuner) as module:
        pixels = torch.rand(2, *module.shape, generator=torch.Generator().manual_seed(0))
        program = _program(module, pixels, config)
        names = json.dumps(config["class_names"], ensure_ascii=False)
        program.model.metadata_props["class_names"] = names
        written = _save(program, out, module, pixels, check)
    write_json(out / RECORD, _record(tuner, config, module))
    return [*written, out / RECORD]


def _require() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingExtraError(
            f"the export to ONNX needs a package that is not installed ({error}); "
            "run: pip install 'labelsieve[onnx]'"
        ) from error


def _program(module: Deployed, pixels: torch.Tensor, config: dict[str, Any]) -> Any:
    try:
        with _quiet(), torch.no_grad():
            return torch.onnx.export(
                module,
                (pixels,),
                dynamo=True,
                verbose=False,
                input_names=["pixel_values"],
                output_names=["logits", "probabilities"],
                dynamic_shapes={"pixel_values": {0: torch.export.Dim.DYNAMIC}},
            )
    except Exception as error:  # whatever breaks inside the exporter breaks for the same reason
        text = str(error).strip().splitlines()
        raise InputError(
            f"{config['model']['id']} cannot be exported to ONNX: {type(error).__name__}: "
            f"{next((line for line in text if line.strip()), '')}"
        ) from error


def _save(
    program: Any, out: Path, module: Deployed, pixels: torch.Tensor, check: bool
) -> list[Path]:
    """Write to a stage beside the output, check there, and move into place."""
    out.mkdir(parents=True, exist_ok=True)
    stage = out / ".stage"
    stage.mkdir(exist_ok=True)
    try:
        size = sum(p.numel() * p.element_size() for p in module.parameters())
        program.save(stage / MODEL, external_data=size > ONE_FILE)
        if check:
            _check(stage / MODEL, module, pixels)
        written = []
        for file in sorted(stage.iterdir()):
            os.replace(file, out / file.name)
            written.append(out / file.name)
        return written
    finally:
        for file in stage.iterdir():
            file.unlink()
        stage.rmdir()


def _check(path: Path, module: Deployed, pixels: torch.Tensor) -> None:
    """Compare probabilities for batches of 1 and 3, neither of which was exported with."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for batch in (pixels[:1], torch.cat([pixels, pixels[:1].flip(-1)])):
        found = session.run(["probabilities"], {"pixel_values": batch.numpy()})[0]
        with torch.no_grad():
            expected = module(batch)[1].numpy()
        off = float(np.abs(np.asarray(found) - expected).max())
        if not off <= TOLERANCE:
            raise LabelSieveError(
                f"the ONNX file computes other probabilities than the classifier (off by {off:.1e} "
                f"for a batch of {len(batch)}); nothing was written. Please report the model"
            )


def _record(tuner: AbstractTuner, config: dict[str, Any], module: Deployed) -> dict[str, Any]:
    """What one must know to use the file, for model.json."""
    return origin_of(config) | {
        "input": {
            "name": "pixel_values",
            "dtype": "float32",
            "shape": ["batch", *module.shape],
            "layout": "batch, channel (red, green, blue), height, width",
        },
        "outputs": {
            "logits": {"dtype": "float32", "shape": ["batch", len(config["class_names"])]},
            "probabilities": {"dtype": "float32", "shape": ["batch", len(config["class_names"])]},
        },
        "preprocessing": describe_preprocessing(module.preprocessing.processor),
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back what the exporter says of itself: missing torchvision, its own deprecations."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
