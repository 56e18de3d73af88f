"""Tuners as folders: loading one that was saved, and the model card it carries."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..backbones import AbstractBackbone
from ..core.device import own_defaults
from ..core.exceptions import InputError
from ..core.serialization import load_tensors, read_json

if TYPE_CHECKING:
    from .base import AbstractTuner

FORMAT = 1
NETWORK = "network"
"""Sub-folder of a classifier that is a whole model of transformers."""


@own_defaults()
def load_tuner(
    folder: Path | str,
    *,
    backbone: str | AbstractBackbone | None = None,
    device: str = "auto",
    offline: bool = False,
) -> AbstractTuner:
    """Load a tuner that was saved, ready to predict.

    Parameters
    ----------
    folder : Path or str
        Where `save` wrote it, or the output folder of a scan (its ``model/`` is taken).
    backbone : str or AbstractBackbone, optional
        Use this in place of the recorded model, for example when its directory moved.
    device : str
        See `resolve_device`.
    offline : bool
        Do not ask the hub.

    Raises
    ------
    InputError
        If the folder holds no saved classifier of a known format, or it does not fit `backbone`.
    """
    from .registry import TUNERS

    folder = Path(folder)
    if not (folder / "config.json").exists() and (folder / "model" / "config.json").exists():
        folder = folder / "model"
    if not (folder / "config.json").exists():
        raise InputError(
            f"{folder} holds no saved classifier (no config.json); pass the folder that "
            "`labelsieve tune -o` or `labelsieve scan -o` wrote"
        )
    config = read_json(folder / "config.json")
    if not isinstance(config, dict) or config.get("format") != FORMAT:
        raise InputError(
            f"{folder}/config.json is not a labelsieve classifier of format {FORMAT}; "
            "if a newer labelsieve wrote it, upgrade"
        )
    whole = NETWORK in config
    model = backbone or config["model"]["origin"]
    tuner = TUNERS.get(config["tuner"])(backbone=model, **config["params"])
    tuner.backbone_ = tuner._load(
        folder / NETWORK if whole else model,
        device=device,
        offline=offline,
        revision=None if backbone else config["model"]["commit"],
    )
    tuner.class_names_ = tuple(config["class_names"])
    tuner.prompt_names_ = tuple(config["prompt_names"])
    tuner.history_ = config["history"]
    try:
        tuner._restore(config, {} if whole else load_tensors(folder / "model.safetensors"))
    except RuntimeError as error:  # of load_state_dict
        raise InputError(
            f"the classifier in {folder} was made of {config['model']['id']} and does not fit "
            f"{tuner.backbone_.model_id}; pass the model it was made of: {error}"
        ) from error
    return tuner


def model_card(config: dict[str, Any]) -> str:
    """A short model card in Markdown, from the saved configuration."""
    names = config["class_names"]
    shown = ", ".join(names[:20]) + (f" and {len(names) - 20} more" if len(names) > 20 else "")
    params = "\n".join(f"- {k}: {v}" for k, v in config["params"].items())
    last = config["history"][-1] if config["history"] else None
    training = f"{last['epoch'] + 1} epochs, last loss {last['loss']:.4f}" if last else "none"
    return (
        f"# An image classifier by labelsieve {config['labelsieve']}\n\n"
        f"Made of `{config['model']['id']}` (commit {config['model']['commit'] or 'unknown'}) by "
        f"the tuner `{config['tuner']}`.\n\n"
        f"- classes ({len(names)}): {shown}\n- training: {training}\n{params}\n\n"
        "Use: `labelsieve predict THIS_FOLDER IMAGES -o predictions.parquet`\n\n"
        "It was fitted to labels that may be partly wrong; measure it on labels you trust with "
        "`labelsieve evaluate THIS_FOLDER DATA`.\n"
    )
