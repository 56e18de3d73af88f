"""From a name or a directory to a frozen backbone."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from ..core.device import own_defaults, resolve_device, resolve_dtype
from ..core.exceptions import InputError, MissingExtraError, ModelUnavailableError
from ..core.progress import progress
from ..core.serialization import read_json
from .base import AbstractBackbone
from .open_clip import SCHEMES, load_open_clip
from .registry import BACKBONES

DEFAULT_MODEL = "openai/clip-vit-base-patch16"
MINI_GLYPH = "mini-glyph"
PROBE_SECONDS = 4.0


@dataclass(frozen=True)
class _Source:
    """Where the files of a model are: a directory or a hub repository at one commit."""

    location: str
    name: str
    commit: str | None
    config: dict[str, Any]
    options: dict[str, Any]


@own_defaults()
def load_backbone(
    model: str | Path | AbstractBackbone = DEFAULT_MODEL,
    *,
    device: str = "auto",
    dtype: str = "auto",
    offline: bool = False,
    revision: str | None = None,
) -> AbstractBackbone:
    """Load a vision-language model, frozen and in evaluation mode.

    Parameters
    ----------
    model : str, Path or AbstractBackbone
        A local directory in Hugging Face format, ``"mini-glyph"`` (comes with labelsieve), or a
        hub id; ``"open_clip:RN50/openai"`` and the like, see `load_open_clip`. A backbone is
        returned as it is.
    device : str
        "auto", "cpu", "cuda", "cuda:N" or "mps".
    dtype : str
        Precision of the image encoder: "auto", "float32", "bfloat16" or "float16". The text
        encoder always runs in float32.
    offline : bool
        Use only what is on this machine.
    revision : str, optional
        Branch, tag or commit of a hub model.

    Raises
    ------
    ModelUnavailableError
        If the model is neither on this machine nor reachable.
    InputError
        If the directory holds no model of a supported family, or device or dtype are unknown.
    MissingExtraError
        If the model's tokenizer needs a package that is not installed.

    Examples
    --------
    >>> from labelsieve.backbones import load_backbone
    >>> backbone = load_backbone("mini-glyph")  # doctest: +SKIP
    """
    if isinstance(model, AbstractBackbone):
        return model
    if str(model).startswith(SCHEMES):
        return load_open_clip(str(model), device=device, dtype=dtype, offline=offline)
    place = resolve_device(device)
    precision = resolve_dtype(dtype, place)
    source = _find(str(model), offline=offline, revision=revision)
    family = _family(source)
    with _quiet(), progress(total=1, desc=f"loading {source.name}", unit="model"):
        parts = _load_parts(source)
    return _assemble(family, source, parts, place, precision)


def _find(model: str, *, offline: bool, revision: str | None) -> _Source:
    path = Path(__file__).parents[1] / "assets" / MINI_GLYPH if model == MINI_GLYPH else Path(model)
    if path.is_dir():
        if not (path / "config.json").is_file():
            raise InputError(
                f"{path} has no config.json; give a directory in Hugging Face format "
                "(config.json, model.safetensors, tokenizer and preprocessor files)"
            )
        return _Source(str(path), path.resolve().name, None, read_json(path / "config.json"), {})
    if model == MINI_GLYPH:
        raise ModelUnavailableError(f"{MINI_GLYPH} is not part of this installation ({path})")
    return _find_on_hub(model, offline=offline, revision=revision)


def _find_on_hub(model: str, *, offline: bool, revision: str | None) -> _Source:
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import HfHubHTTPError

    local = offline or not _hub_answers()
    try:
        config = hf_hub_download(model, "config.json", revision=revision, local_files_only=local)
    except (OSError, ValueError, HfHubHTTPError) as error:
        raise _unavailable(model, offline=offline, local=local) from error
    commit = Path(config).parent.name
    options = {"revision": commit, "local_files_only": local}
    return _Source(model, model, commit, read_json(config), options)


def _hub_answers() -> bool:
    """One request with a short timeout; the hub client itself would retry for half a minute."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=PROBE_SECONDS)
    except Exception:  # the exception types belong to the client's HTTP library and have changed
        return False
    return True


def _unavailable(model: str, *, offline: bool, local: bool) -> ModelUnavailableError:
    if offline:
        reason = "it is not in the local cache, and offline was asked for"
    elif local:
        reason = "it is not in the local cache, and the Hugging Face Hub cannot be reached"
    else:
        reason = "the Hugging Face Hub has no such model, or access to it is restricted"
    return ModelUnavailableError(
        f"model {model!r} is not available: it is not a directory here, {reason}. Ways out: "
        "check the spelling; download it on another machine (`hf download MODEL --local-dir DIR`) "
        "and pass the directory; point HF_HOME to a cache that holds it; or use the small model "
        f"that comes with labelsieve (`--model {MINI_GLYPH}`)"
    )


def _family(source: _Source) -> Any:
    kind = source.config.get("model_type")
    if kind not in BACKBONES.entries:
        raise InputError(
            f"{source.location} has model type {kind!r}, which is not supported; "
            f"supported are {', '.join(BACKBONES.names())}; image classification models are "
            "trained by `labelsieve adapt` and the tuner fft"
        )
    return BACKBONES.get(kind)


def _load_parts(source: _Source) -> tuple[Any, Any, Any]:
    from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

    try:
        model = AutoModel.from_pretrained(
            source.location, dtype=torch.float32, attn_implementation="sdpa", **source.options
        )
        tokenizer = AutoTokenizer.from_pretrained(source.location, **source.options)
        # The PIL backend gives the same pixels whether or not torchvision is installed.
        processor = AutoImageProcessor.from_pretrained(
            source.location, backend="pil", **source.options
        )
    except ImportError as error:
        raise MissingExtraError(
            f"{source.location} needs a package that is not installed: {error}. "
            "For SigLIP run: pip install 'labelsieve[siglip]'"
        ) from error
    except (OSError, ValueError, RuntimeError, SafetensorError) as error:
        known = ModelUnavailableError if source.commit else InputError
        raise known(f"the files of {source.location} cannot be loaded: {error}") from error
    return model, tokenizer, processor


def _assemble(
    family: Any,
    source: _Source,
    parts: tuple[Any, Any, Any],
    device: torch.device,
    dtype: torch.dtype,
) -> AbstractBackbone:
    model, tokenizer, processor = parts
    model.eval().requires_grad_(False)
    for name, tower in model.named_children():
        if name in ("vision_model", "visual_projection"):
            tower.to(dtype)
    is_local = source.commit is None and source.name != MINI_GLYPH
    return family(
        model.to(device),
        tokenizer,
        processor,
        model_id=source.name,
        commit=source.commit,
        origin=str(Path(source.location).resolve()) if is_local else source.name,
        weights_hash=partial(_hash_weights, Path(source.location)),
        device=device,
        dtype=dtype,
    )


def _hash_weights(directory: Path) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for path in sorted([*directory.glob("*.safetensors"), *directory.glob("*.bin")]):
        with path.open("rb") as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


@contextmanager
def _quiet() -> Iterator[None]:
    """Hold back transformers' bars and notes while loading; download bars stay on a terminal."""
    from huggingface_hub.utils import are_progress_bars_disabled, enable_progress_bars
    from transformers.utils import logging

    level, bars, downloads = (
        logging.get_verbosity(),
        logging.is_progress_bar_enabled(),
        not are_progress_bars_disabled(),
    )
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    if downloads and sys.stderr.isatty():
        enable_progress_bars()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
        if downloads:
            enable_progress_bars()
