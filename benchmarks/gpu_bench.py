"""What the GPU benchmarks stand on: sizes, timing, necessary work, and kernels by kind."""

from __future__ import annotations

import copy
import statistics
import time
import traceback
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from extraction import photos
from prompt_step import build_backbone
from torch.autograd import DeviceType
from torch.profiler import ProfilerActivity, profile

WIDTH, PATCH, GIB = 768, 16, 2**30
KINDS = {
    "attention": ("flash", "fmha", "sdpa", "attention"),
    "matrix products": (
        "gemm",
        "gemv",
        "cutlass",
        "xmma",
        "nvjet",
        "cublas",
        "splitk",
        "conv",
        "::mm",
    ),
    "elementwise, norms, copies": (
        "at::native",
        "elementwise",
        "memcpy",
        "memset",
        "norm",
        "aten::",
    ),
}
"""What the names of kernels hold, the first that fits; the rest is the rest."""


@dataclass
class Bench:
    """Device and sizes; what several sections need is made once."""

    device: str
    layers: int = 12
    classes: tuple[int, ...] = (10, 100, 1000)
    product: int = 8192
    copied: int = 2 * GIB
    files: int = 2048
    batch: int = 64
    batches: int = 4
    rounds: int = 7
    labels: int = 100
    peak: dict[str, float] | None = None

    @cached_property
    def exact(self) -> Any:
        """The model in float32."""
        return build_backbone(PATCH, self.layers, self.device)

    @cached_property
    def half(self) -> Any:
        """With the image encoder in bfloat16, as a GPU gets it by default."""
        other = copy.copy(self.exact)
        other.model = copy.deepcopy(self.exact.model)
        other.model.vision_model.bfloat16(), other.model.visual_projection.bfloat16()
        other.dtype = torch.bfloat16
        return other

    @cached_property
    def photos(self) -> list[bytes]:
        """JPEG files of 500 x 375."""
        return photos(min(64, self.batch))

    def wait(self) -> None:
        """Until the device has done everything."""
        if self.device != "cpu":
            torch.cuda.synchronize()

    def forget(self) -> None:
        """Begin a new peak of memory."""
        if self.device != "cpu":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak_gib(self) -> float | None:
        """Most memory in use at once since `forget`, models included."""
        return None if self.device == "cpu" else torch.cuda.max_memory_allocated() / GIB

    def share(self, flop: float, ms: float, kind: str) -> float:
        """Of the peak of that precision."""
        return flop / (ms / 1e3) / (self.peak or {}).get(kind, float("nan"))

    def measure(self, step: Callable[[], object], rounds: int | None = None) -> dict[str, Any]:
        """Milliseconds of a step, and the memory it needs."""
        self.forget()
        times = []
        for turn in range(2 + (rounds or self.rounds)):
            self.wait()
            started = time.perf_counter()
            step()
            self.wait()
            if turn >= 2:
                times.append(1e3 * (time.perf_counter() - started))
        spread = [min(times), max(times)]
        return {"ms": statistics.median(times), "range_ms": spread, "gib": self.peak_gib()}


def tower_flop(bench: Bench, *, tokens: int = 197, backward: str = "none") -> float:
    """Of the image encoder on one image; see the head of this file."""
    linear, attention = 24 * tokens * WIDTH**2, 4 * tokens**2 * WIDTH
    once = {"none": 0, "frozen": 1, "trained": 2}[backward]
    layer = linear * (1 + once) + attention * (1 + 2 * (once > 0))
    return bench.layers * layer + 2 * 196 * 3 * PATCH**2 * WIDTH + 2 * WIDTH * 512


def kind_of(name: str) -> str:
    """The kind of a kernel by its name.

    Examples
    --------
    >>> kind_of("nvjet_hsh_128x256_64x4_1x2_h_bz_coopA_NNT")
    'matrix products'
    """
    low = name.lower()
    fitting = (kind for kind, parts in KINDS.items() if any(part in low for part in parts))
    return next(fitting, "the rest")


def kernels(
    step: Callable[[], object], device: str, ms: float, *, calls: int = 1, steps: int = 1
) -> dict[str, Any] | None:
    """Profile calls that make so many steps each.

    On the CPU operators take the place of kernels, only to see that it runs.

    Parameters
    ----------
    step : callable
    device : str
    ms : float
        Of a step without the profiler.
    calls, steps : int
        How often it is called, and how many steps it makes.

    Returns
    -------
    dict or None
        ``busy_ms`` and ``launches`` a step, ``idle``, ``kinds`` and ``top`` kernels as shares of
        the busy time; None where the profiler fails or sees no kernel.
    """
    on_gpu = device != "cpu"
    try:
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if on_gpu else [])]
        with profile(activities=activities) as profiler:
            for _ in range(calls):
                step()
            if on_gpu:
                torch.cuda.synchronize()
        spent = _times(profiler.events() or [], on_gpu)
    except Exception:
        traceback.print_exc()
        return None
    if not spent:
        return None
    times: Counter[str] = Counter()
    for name, microseconds in spent:
        times[name] += microseconds
    busy = sum(times.values())
    kinds: Counter[str] = Counter()
    for name, microseconds in times.items():
        kinds[kind_of(name)] += microseconds / busy
    busy_ms = busy / 1e3 / calls / steps
    return {
        "busy_ms": busy_ms,
        "idle": 1 - busy_ms / ms,
        "launches": len(spent) / calls / steps,
        "kinds": {kind: kinds[kind] for kind in (*KINDS, "the rest")},
        "top": [
            {"name": name[:90], "share": microseconds / busy}
            for name, microseconds in times.most_common(6)
        ],
    }


def _times(events: Any, on_gpu: bool) -> list[tuple[str, float]]:
    """Names and microseconds of all kernels and copies."""
    return [
        (event.name, event.time_range.elapsed_us() if on_gpu else event.self_cpu_time_total)
        for event in events
        if (event.device_type == DeviceType.CUDA) == on_gpu
        and not getattr(event, "is_user_annotation", False)
        and not event.name.startswith(("Optimizer.", "ProfilerStep"))
    ]
