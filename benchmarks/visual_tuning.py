"""What adapting the image encoder costs: dual prompts with none, lora and vpt-deep, side by side.

Each runs in a process of its own on the same generated images. `none` encodes every image once
and trains on the features; the others pass the pixels through the encoder at every step. Figures
are for a thousand images: one epoch, and a run of ten epochs, without and with the first pass over
the images.
Processor seconds stay comparable when the machine has other work; with one thread they are the
wall time of a quiet machine.

    python benchmarks/visual_tuning.py --model DIR     # minutes
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).with_name("latest.json")
TUNINGS = ("none", "lora", "vpt-deep")
PHOTO = Path("../shared/models/mini-vlm-photo")
EPOCHS = 10
N_CLASSES = 10


def measure(model: str, tuning: str, n_images: int, epochs: int, threads: int) -> dict[str, float]:
    """Seconds and peak memory of one detector in this process."""
    import numpy as np
    import torch
    from PIL import Image

    from labelsieve.backbones import extract_features, load_backbone
    from labelsieve.data.images import LabeledImages
    from labelsieve.detectors.dual_prompts import DualPrompts

    torch.set_num_threads(threads)
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (n_images, 64, 64, 3), dtype=np.uint8)

    class Generated:
        """Images made from an array, encoded as PNG when read."""

        def __init__(self, rows):
            self.rows = rows

        def read_bytes(self, row):
            from io import BytesIO

            buffer = BytesIO()
            Image.fromarray(pixels[self.rows[row]]).save(buffer, "PNG", compress_level=0)
            return buffer.getvalue()

        def subset(self, rows):
            return Generated(self.rows[rows])

    ids = np.array([f"{i}.png" for i in range(n_images)], dtype=object)
    images = LabeledImages(
        ids=ids,
        file_names=ids,
        given_labels=rng.integers(N_CLASSES, size=n_images),
        class_names=tuple(f"class {k}" for k in range(N_CLASSES)),
        source=Generated(np.arange(n_images)),
        rule="generated",
    )
    backbone = load_backbone(model)
    few = images.subset(np.arange(min(n_images, 64)))
    DualPrompts(backbone, visual_tuning=tuning, epochs=1).fit(few)  # what happens once a process
    epochs *= 10 if tuning == "none" else 1
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = times()
    features = extract_features(images, backbone)
    extraction = times() - started
    spent = []
    for n in (1, 1 + epochs):  # the difference leaves out what is done once
        started = times()
        DualPrompts(backbone, visual_tuning=tuning, epochs=n).fit(features, images)
        spent.append(times() - started)
    epoch = (spent[1] - spent[0]) / epochs
    thousands = n_images / 1000
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    record = {"peak_mib": float(peak)}
    for which, name in enumerate(("wall", "processor")):
        record[f"{name}_epoch"] = float(epoch[which] / thousands)
        record[f"{name}_training"] = float(EPOCHS * epoch[which] / thousands)
        run = (extraction[which] + EPOCHS * epoch[which]) / thousands
        record[f"{name}_run"] = float(run)
    return record


def times() -> Any:
    """Wall and processor seconds until now, (2,)."""
    import numpy as np

    return np.array([time.perf_counter(), time.process_time()])


def child(arguments: argparse.Namespace, tuning: str) -> dict[str, float]:
    """The same in a fresh process, so that peaks of memory do not mix."""
    command = [sys.executable, __file__, "--only", tuning, "--model", arguments.model]
    command += ["--images", str(arguments.images), "--epochs", str(arguments.epochs)]
    command += ["--threads", str(arguments.threads)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout.splitlines()[-1])


def save(found: dict[str, dict[str, float]], arguments: argparse.Namespace) -> None:
    """Put the result into latest.json beside the results of other benchmarks."""
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    slow, fast = found["vpt-deep"], found["none"]
    known["visual_tuning"] = {
        "ratio": round(slow["wall_epoch"] / fast["wall_epoch"], 1),
        "processor_ratio": round(slow["processor_epoch"] / fast["processor_epoch"], 1),
        "processor_ratio_ten_epochs": round(slow["processor_run"] / fast["processor_run"], 1),
        "seconds_plain": round(slow["wall_epoch"], 3),
        "seconds_fast": round(fast["wall_epoch"], 3),
        "per_thousand_images": {
            name: {key: round(value, 3) for key, value in record.items()}
            for name, record in found.items()
        },
        "model": Path(arguments.model).name,
        "threads": arguments.threads,
        "load_average": round(os.getloadavg()[0], 2),
    }
    RESULTS.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Run, print the table, write latest.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default=str(PHOTO) if PHOTO.is_dir() else "mini-glyph")
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--only", choices=TUNINGS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        options = (arguments.images, arguments.epochs, arguments.threads)
        print(json.dumps(measure(arguments.model, arguments.only, *options)))
        return
    found = {tuning: child(arguments, tuning) for tuning in TUNINGS}
    save(found, arguments)
    print("dual prompts, processor seconds for a thousand images, 10 classes; ratios to `none`")
    print(f"{'encoder':<10}{'epoch':>9}{'ratio':>8}{'ten':>9}{'ratio':>8}", end="")
    print(f"{'with extraction':>17}{'ratio':>8}{'peak MiB':>10}")
    for name, record in found.items():
        print(f"{name:<10}", end="")
        for part, width in (("epoch", 9), ("training", 9), ("run", 17)):
            value = record[f"processor_{part}"]
            ratio = value / found["none"][f"processor_{part}"]
            print(f"{value:>{width}.3f}{ratio:>8.1f}", end="")
        print(f"{record['peak_mib']:>10.0f}")


if __name__ == "__main__":
    main()
