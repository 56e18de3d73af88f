"""What the speed benchmarks share: interleaved times, the machine's peak, the file of results."""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

RESULTS = Path(__file__).parent / "latest.json"
PEAK_SIZE = 2048
COLUMNS = dict.fromkeys(("ratio", "seconds_plain", "seconds_fast", "share_of_peak"))


def seconds(step: Callable[[], object]) -> float:
    """Wall time of one call."""
    started = time.perf_counter()
    step()
    return time.perf_counter() - started


def interleaved(
    tasks: dict[str, tuple[Callable[[], object], int]], rounds: int
) -> dict[str, list[float]]:
    """Wall times of tasks, one after the other in every round, after one call that is not timed.

    `tasks` maps a name to what is called and how often a round.
    """
    found: dict[str, list[float]] = {name: [] for name in tasks}
    for call, _ in tasks.values():
        call()
    for _ in range(rounds):
        for name, (call, count) in tasks.items():
            found[name] += [seconds(call) for _ in range(count)]
    return found


def products() -> dict[str, tuple[Callable[[], object], int]]:
    """Large matrix products, for the peak in float32 and bfloat16."""
    a, b = torch.randn(PEAK_SIZE, PEAK_SIZE), torch.randn(PEAK_SIZE, PEAK_SIZE)
    half, other = a.bfloat16(), b.bfloat16()
    return {"peak float32": (lambda: a @ b, 5), "peak bfloat16": (lambda: half @ other, 5)}


def peaks(times: dict[str, list[float]]) -> dict[str, float]:
    """FLOP a second of the fastest product in each precision."""
    name = "peak {}".format
    return {kind: 2 * PEAK_SIZE**3 / min(times[name(kind)]) for kind in ("float32", "bfloat16")}


def entry(plain: list[float], fast: list[float], **more: Any) -> dict[str, Any]:
    """One benchmark: ratio and medians of both, with the spread of the fast one."""
    slow, quick = statistics.median(plain), statistics.median(fast)
    return {
        "ratio": slow / quick,
        "seconds_plain": slow,
        "seconds_fast": quick,
        "fast_range": [min(fast), max(fast)],
        "repeats": [len(plain), len(fast)],
        **more,
    }


def peak_mib() -> float:
    """Largest memory of this process so far, file pages that it has mapped included."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine() -> str:
    """What the figures were measured on, in a line."""
    model = platform.processor()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        model = next((x.partition(": ")[2] for x in lines if x.startswith("model name")), model)
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return (
        f"{model}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, {gpu}, "
        f"torch {torch.__version__}, load average {os.getloadavg()[0]:.1f}"
    )


def save(results: dict[str, dict[str, Any]], *, quick: bool = False) -> None:
    """Put results into latest.json beside those of other benchmarks; a quick run only shows them.

    Each says on which machine and by which command it was measured. All have the columns of the
    table; null stands where there is no plain way to compare with, and nothing to take a share of.
    """
    command = " ".join(["python", f"benchmarks/{Path(sys.argv[0]).name}", *sys.argv[1:]])
    results = {
        name: _rounded({**COLUMNS, **result, "machine": machine(), "command": command})
        for name, result in results.items()
    }
    where = RESULTS.with_name("quick.json") if quick else RESULTS
    known = json.loads(where.read_text(encoding="utf-8")) if where.is_file() else {}
    where.write_text(json.dumps(known | results, indent=2) + "\n", encoding="utf-8")


def _rounded(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_rounded(item) for item in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value
