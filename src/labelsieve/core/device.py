"""Where and in which precision to compute: the one place that decides it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import torch

from .exceptions import InputError

DEVICES = ("auto", "cpu", "cuda", "mps")
DTYPES = {
    "auto": None,
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


@contextmanager
def own_defaults() -> Iterator[None]:
    """Torch with its own defaults, float32, the CPU and gradients, whatever the caller has set.

    Training without gradients, as after `torch.set_grad_enabled(False)`, would change nothing and
    not say so.

    Examples
    --------
    >>> with torch.no_grad(), own_defaults():
    ...     torch.is_grad_enabled()
    True
    """
    dtype, place = torch.get_default_dtype(), torch.get_default_device()
    # Only where it differs: the one is global to all threads, the other slows every call.
    moved = nullcontext() if place.type == "cpu" else torch.device("cpu")
    try:
        if dtype != torch.float32:
            torch.set_default_dtype(torch.float32)
        with torch.inference_mode(False), torch.enable_grad(), moved:
            yield
    finally:
        if dtype != torch.float32:
            torch.set_default_dtype(dtype)


def resolve_device(device: str = "auto") -> torch.device:
    """Turn a device name into a `torch.device`.

    Parameters
    ----------
    device : str
        "auto" (CUDA, then MPS, then CPU), "cpu", "cuda", "cuda:N" or "mps".

    Raises
    ------
    InputError
        If the name is unknown or the device is not there.
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    if not isinstance(device, str) or device.partition(":")[0] not in DEVICES[1:]:
        raise InputError(f"unknown device {device!r}; choose one of {', '.join(DEVICES)}")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"device {device!r} is not available here; use 'auto' or 'cpu'")
    if device == "mps" and not torch.backends.mps.is_available():
        raise InputError("device 'mps' is not available here; use 'auto' or 'cpu'")
    try:
        found = torch.device(device)
    except RuntimeError as error:  # such as "cuda:x"
        raise InputError(
            f"unknown device {device!r}; choose one of {', '.join(DEVICES)}"
        ) from error
    if found.type == "cuda" and (found.index or 0) >= torch.cuda.device_count():
        raise InputError(f"device {device!r} is not available here; use 'auto' or 'cuda'")
    return found


def resolve_dtype(dtype: str, device: torch.device) -> torch.dtype:
    """Turn a precision name into the dtype in which image encoders run.

    "auto" is bfloat16 on a CUDA device that supports it and float32 elsewhere (on CPUs without
    matrix units for bfloat16 it is slower, not faster).

    Raises
    ------
    InputError
        If the name is unknown.
    """
    if dtype not in DTYPES:
        raise InputError(f"unknown dtype {dtype!r}; choose one of {', '.join(DTYPES)}")
    chosen = DTYPES[dtype]
    if chosen is not None:
        return chosen
    if device.type == "cuda" and torch.cuda.is_bf16_supported():
        return torch.bfloat16
    return torch.float32


def resolve_precision(precision: str, device: torch.device) -> str:
    """Turn the name of a training precision into that of an automatic mixed precision.

    "auto" is what `accelerate launch --mixed_precision` asks for, else bfloat16 on a CUDA device
    that supports it, else float32.

    Raises
    ------
    InputError
        If the name is unknown.

    Examples
    --------
    >>> resolve_precision("bfloat16", torch.device("cpu"))
    'bfloat16'
    """
    if precision not in DTYPES:
        raise InputError(f"unknown precision {precision!r}; choose one of {', '.join(DTYPES)}")
    if precision != "auto":
        return precision
    asked = {"no": "float32", "bf16": "bfloat16", "fp16": "float16"}
    launched = asked.get(os.environ.get("ACCELERATE_MIXED_PRECISION", ""))
    return launched or str(resolve_dtype("auto", device)).removeprefix("torch.")
