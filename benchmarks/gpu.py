"""On a GPU: prompt tuning, extraction, DeFT's phase 1 and full fine-tuning, against its peak.

CLIP ViT-B/16's shape with random weights and random inputs. Every figure is the median of several
steps after a warm-up, the device waited for. A share of the peak is the floating-point operations
that the method cannot avoid, by the time and by the fastest product of two 8192 x 8192 matrices in
that precision. Of a linear layer that is 2 a weight and token forward, 2 backward for a frozen
weight (its input's gradient) and 4 for a trained one; attention's products are counted in the
image encoder (4 T^2 W a layer forward, 8 backward), not among the prompts; norms and activations
are not counted. Training steps are those of the library's own loop: pixels are shifted, flipped
and normalised, the loss is read. Idle is the share of a step in which no kernel runs: kernel times
from the profiler, the step's time without it.

    python benchmarks/gpu.py [--out docs/results] [--device cpu --quick]
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import tempfile
import time
import traceback
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from extraction import Memory, OnDisk, plain_loop
from gpu_bench import Bench, kernels, tower_flop
from gpu_page import page
from prompt_step import (
    BATCH,
    N_CONTEXT,
    Steps,
    encode_pixels,
    necessary_flop,
    random_names,
)
from timing import machine

from labelsieve.backbones import extract_features
from labelsieve.backbones.pixels import TrainingPixels
from labelsieve.detectors.dual_prompt_training import DualPromptTuning
from labelsieve.prompts import PromptLearner
from labelsieve.prompts.text_encoder import GPU_CHUNK_TOKENS
from labelsieve.tuners.baseline import Baseline
from labelsieve.tuners.image_side import ImageSide
from labelsieve.tuners.inputs import FitData
from labelsieve.tuners.networks import TowerNetwork
from labelsieve.tuners.pixel_training import PixelTraining
from labelsieve.tuners.plan import TrainingPlan
from labelsieve.tuners.training import train

PROMPTS, KINDS = 20, ("float32", "bfloat16")
TUNINGS = ("none", "lora", "vpt-deep")


def peak(bench: Bench) -> dict[str, Any]:
    """Matrix products (TFLOP/s) and a copy within the device's memory (GB/s, read and written)."""
    n, found = bench.product, {}
    for kind in KINDS:
        a, b = (torch.randn(n, n, device=bench.device, dtype=getattr(torch, kind)) for _ in "ab")
        found[kind] = 2 * n**3 / (bench.measure(partial(torch.mm, a, b))["range_ms"][0] / 1e3)
    bench.peak = dict(found)
    source = torch.rand(bench.copied // 4, device=bench.device)
    target = torch.empty_like(source)
    ms = bench.measure(partial(target.copy_, source))["range_ms"][0]
    return {kind: value / 1e12 for kind, value in found.items()} | {
        "copy_gb": 2 * bench.copied / ms / 1e6
    }


def textbook(bench: Bench, steps: Steps, pixels: torch.Tensor, half: bool) -> None:
    """A step of the usual loop: the image encoder, and all 77 positions of every prompt."""
    encode_pixels(bench.half if half else bench.exact, pixels)
    steps.textbook(half)


def prompts(bench: Bench) -> list[dict[str, Any]]:
    """Prompt steps of every size in both precisions, ours and the textbook's."""
    rows, pixels = [], torch.randn(BATCH, 3, 224, 224, device=bench.half.device)
    for k in bench.classes:
        steps = Steps(bench.exact, k)
        flop = necessary_flop(steps.learner)
        for kind in KINDS:
            half = kind == "bfloat16"
            fast = bench.measure(partial(steps.ours, half))
            share = bench.share(flop, fast["ms"], kind)
            row = {"classes": k, "kind": kind, **fast, "share": share}
            one = bench.measure(partial(steps.ours, half, k))
            row |= {"one_chunk_ms": one["ms"], "one_chunk_gib": one["gib"]}
            try:
                usual = partial(textbook, bench, steps, pixels, half)
                plain = bench.measure(usual, min(3, bench.rounds))
                row |= {"plain_ms": plain["ms"], "plain_gib": plain["gib"]}
                row["ratio"] = plain["ms"] / fast["ms"]
                wanted, found = steps.textbook()[1], steps.ours(half)[1]
                row["gradient_error"] = float((found - wanted).abs().max() / wanted.abs().max())
            except torch.OutOfMemoryError:
                row["out_of_memory"] = True
            if half:
                row["time"] = kernels(partial(steps.ours, True), bench.device, fast["ms"], calls=3)
            rows.append(row)
    return rows


def extraction(bench: Bench) -> dict[str, Any]:
    """The image encoder alone, and JPEG files to features against the plain loop."""
    encoder = []
    for size in (bench.batch, 4 * bench.batch):
        pixels = torch.randn(size, 3, 224, 224, device=bench.device)
        with torch.inference_mode():
            row = bench.measure(partial(bench.half.encode_images, pixels))
        row |= {"batch": size, "per_second": 1e3 * size / row["ms"]}
        encoder.append(row | {"share": bench.share(size * tower_flop(bench), row["ms"], KINDS[1])})
    room = shutil.disk_usage("/dev/shm").free // (3 * 64 * 3 * 224**2 * 4)  # a worker's batches
    n, workers, rates = bench.files, min(os.cpu_count() or 1, room), {}
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{i}.jpg" for i in range(n)]
        for i, path in enumerate(paths):  # what follows the picture makes the files differ
            path.write_bytes(bench.photos[i % len(bench.photos)] + i.to_bytes(4, "big"))
        images = OnDisk(paths)
        for kind, backbone in zip(KINDS, (bench.exact, bench.half), strict=True):
            loops = {
                "ours": partial(extract_features, images, backbone, show=False),
                "plain": partial(plain_loop, paths, backbone, workers),
            }
            for name, loop in loops.items():
                started = time.perf_counter()
                try:
                    loop()
                    bench.wait()
                except RuntimeError:  # worker processes need shared memory
                    traceback.print_exc()
                    continue
                rates[f"{name}_{kind}"] = n / (time.perf_counter() - started)
    return {"encoder": encoder, "files": n, "workers_plain": workers, "per_second": rates}


def problem(bench: Bench) -> FitData:
    """Random features and labels, with photographs."""
    n, draw = bench.batch * bench.batches, np.random.default_rng(0)
    features = draw.normal(size=(n, bench.half.embed_dim)).astype(np.float32)
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    names = tuple(random_names(bench.labels))
    files: Any = Memory([bench.photos[i % len(bench.photos)] for i in range(n)])
    return FitData(
        features, draw.integers(bench.labels, size=n), np.arange(n), n, names, names, images=files
    )


def training(bench: Bench, module: Any, active: AbstractContextManager[Any], flop: float) -> Any:
    """A step of the training loop in bfloat16."""
    plan = TrainingPlan(bench.rounds, bench.batch, 1e-4, warmup_epochs=0, precision="bfloat16")
    n = bench.batch * bench.batches
    with active:
        once = partial(train, module, n, replace(plan, epochs=1))
        once()
        bench.forget()
        ms = [1e3 * r["seconds"] / bench.batches for r in train(module, n, plan)]
        bench.wait()
        gib = bench.peak_gib()
        middle = statistics.median(ms)
        time_of = kernels(once, bench.device, middle, steps=bench.batches)
    return {
        "ms": middle,
        "range_ms": [min(ms), max(ms)],
        "gib": gib,
        "share": bench.share(flop, middle, "bfloat16"),
        "per_second": 1e3 * bench.batch / middle,
        "time": time_of,
    }


def phase_one(bench: Bench) -> list[dict[str, Any]]:
    """Dual prompts of 100 classes with each visual tuning."""
    rows, data = [], problem(bench)
    for tuning in TUNINGS:
        seed = torch.Generator().manual_seed(0)
        learners = [
            PromptLearner(bench.half, data.prompt_names, n_context=N_CONTEXT, generator=seed)
            for _ in range(2)
        ]
        side = ImageSide(data, bench.half, tuning, None, seed)
        module = DualPromptTuning(
            side, data, *learners, warmup_epochs=1, warmup_loss="ce", agreement=False
        )
        tokens = 197 + PROMPTS * (tuning == "vpt-deep")
        images = bench.batch * tower_flop(bench, tokens=tokens, backward="frozen")
        flop = sum(map(necessary_flop, learners)) + images * (tuning != "none")
        rows.append({"tuning": tuning, **training(bench, module, side.active(), flop)})
        rows[-1]["times_none"] = rows[-1]["ms"] / rows[0]["ms"]
    return rows


def fine_tuning(bench: Bench) -> dict[str, Any]:
    """All blocks of the image encoder and a head of 100 classes."""
    data, seed = problem(bench), torch.Generator().manual_seed(0)
    network = TowerNetwork(bench.half, bench.labels, generator=seed)
    pixels = TrainingPixels(data.images, network.preprocessing, device=network.device)
    module = PixelTraining(network, pixels, data.labels, Baseline("ce"), precision="bfloat16")
    flop = bench.batch * tower_flop(bench, backward="trained")
    return training(bench, module, network.active(), flop)


SECTIONS: dict[str, Callable[[Bench], Any]] = {
    "peak": peak,
    "prompts": prompts,
    "phase_one": phase_one,
    "fine_tuning": fine_tuning,
    "extraction": extraction,
}


def options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it runs")
    return parser.parse_args()


def main() -> None:
    """Run every section; one that fails prints its traceback, and the others go on."""
    arguments = options()
    bench = Bench(arguments.device)
    if arguments.quick:
        small = {"layers": 1, "classes": (4,), "labels": 5, "product": 256, "copied": 2**22}
        bench = Bench(arguments.device, **small, files=16, batch=4, batches=2, rounds=1)
    command = f"python benchmarks/gpu.py{' --quick' * arguments.quick}"
    found: dict[str, Any] = {"machine": machine(), "command": command, "seconds": {}}
    found["chunk_tokens"] = GPU_CHUNK_TOKENS
    found["sizes"] = {name: getattr(bench, name) for name in ("batch", "labels", "product")}
    arguments.out.mkdir(parents=True, exist_ok=True)
    for name, section in SECTIONS.items():
        started = time.perf_counter()
        try:
            found[name] = section(bench)
        except Exception:
            traceback.print_exc()
        bench.forget()
        found["seconds"][name] = time.perf_counter() - started
        (arguments.out / "gpu.json").write_text(json.dumps(found, indent=2) + "\n", "utf-8")
        (arguments.out / "gpu.md").write_text(page(found), encoding="utf-8")
    print((arguments.out / "gpu.md").read_text(encoding="utf-8"))


if __name__ == "__main__":
    main()
