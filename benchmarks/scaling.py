"""What a scan costs as its data grow: the second pass over 10^4 to 10^7 rows, and images a second.

The rows are synthetic: 128 features around 50 class centres, a fifth of the labels flipped, in
blocks as `labelsieve scan --engine ray` commits them. Each size and detector runs in a process of
its own that does all that the command does after encoding (ids, subset, fit, scores, issues,
report), its tasks one after the other on one core. The blocks are removed afterwards.

The images are generated JPEG files in tar shards, read, decoded and encoded by `labelsieve scan
--engine ray` itself, and one shard by the same function in this process, for its processor time.
What was measured is kept in docs/results/scaling.json and not measured again; the page
docs/results/scaling.md is written from it by `scaling_page.py`.

    python benchmarks/scaling.py [--rows 10000 100000 1000000 10000000] [--folder DIR]
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from timing import machine, peak_mib

RESULTS = Path(__file__).parents[1] / "docs" / "results" / "scaling.json"
CLASSES, FLIPPED, BLOCK, FIT_ROWS = 50, 0.2, 10_000, 5_000
DETECTORS = ("latent-label", "label-match")
ROWS = (10_000, 100_000, 1_000_000, 10_000_000)
IMAGES, SHARDS, WORKERS = 2_000, 8, 2


def write_blocks(folder: Path, n_rows: int) -> None:
    """Commit blocks of synthetic features; class centres lie near the class names."""
    import pyarrow as pa

    from labelsieve.backbones import load_backbone
    from labelsieve.prompts import zero_shot_classifier
    from labelsieve.scale.encode import feature_table
    from labelsieve.scale.ledger import Ledger

    backbone = load_backbone("mini-glyph", device="cpu")
    text = zero_shot_classifier(backbone, class_names()).weights.cpu().numpy()
    rng = np.random.default_rng(0)
    centres = text + rng.standard_normal(text.shape) / np.sqrt(text.shape[1])
    ledger = Ledger(folder)
    ledger.claim("synthetic", {"rows": n_rows})
    for number in range(n_rows // BLOCK):
        if ledger.record(number) is not None:
            continue
        rng = np.random.default_rng([1, number])
        true = rng.integers(CLASSES, size=BLOCK)
        x = centres[true] + rng.standard_normal((BLOCK, text.shape[1])) / 10
        x = (x / np.linalg.norm(x, axis=1, keepdims=True)).astype(np.float32)
        flipped = rng.random(BLOCK) < FLIPPED
        given = np.where(flipped, (true + rng.integers(1, CLASSES, BLOCK)) % CLASSES, true)
        ids = [f"{number:06d}/{row:05d}" for row in range(BLOCK)]
        labels = [class_names()[k] for k in given]
        rows = _Rows(ids, [f"{name}.jpg" for name in ids], labels)
        counts = {
            name: int(n) for name, n in zip(*np.unique(labels, return_counts=True), strict=True)
        }
        about = {"labels": counts, "unreadable": 0, "refused": 0, "truncated": False}
        table = feature_table(rows, x, {})
        zeros = pa.array(np.zeros(BLOCK, dtype=np.int64))
        table = table.append_column("offset", zeros).append_column("size", zeros)
        ledger.commit(number, table, about)


class _Rows:
    """Rows of a block without their images."""

    tar = None

    def __init__(self, ids: list[str], file_names: list[str], labels: list[str]):
        self.ids, self.file_names, self.labels = ids, file_names, labels


def class_names() -> list[str]:
    """Names of the classes."""
    return [f"class {k:02d}" for k in range(CLASSES)]


def second_pass(folder: Path, n_rows: int, detector: str) -> dict[str, Any]:
    """All that follows encoding, in this process: processor seconds by stage, memory, bytes."""
    from labelsieve.backbones import load_backbone
    from labelsieve.data.listing import ReadOptions
    from labelsieve.report import write_report
    from labelsieve.scale import Cluster, streamed
    from labelsieve.scale.blocks import TarBlock
    from labelsieve.scale.gather import Gathered, complete
    from labelsieve.scale.ledger import Ledger
    from labelsieve.sieve import LabelSieve

    seconds: dict[str, float] = {}

    def counted(name: str, call: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*arguments: Any) -> Any:
            started = time.process_time()
            found = call(*arguments)
            seconds[name] = time.process_time() - started
            return found

        return wrapped

    def run_here(prepare: Any, tasks: Any, cluster: Any) -> Any:
        return map(prepare(), tasks)

    streamed.run_tasks = run_here
    for name, function in (("draw", "draw"), ("score", "_score"), ("write", "_write_issues")):
        setattr(streamed, function, counted(name, getattr(streamed, function)))
    ledger, out = Ledger(folder), folder.parent / "out"
    shutil.rmtree(out, ignore_errors=True)
    blocks = [TarBlock(n, str(folder / f"{n}.tar")) for n in range(n_rows // BLOCK)]
    sieve = LabelSieve(
        load_backbone("mini-glyph", device="cpu"), detector=detector, tuner="zero-shot"
    )
    base, clock = peak_mib(), time.perf_counter()
    found = Gathered(ledger, complete(ledger, blocks, {}), blocks)
    counted("ids", found.check_ids)(None)
    wanted = streamed.Wanted(
        budget=1000, finish=counted("report", lambda stage, images: write_report(stage))
    )
    options = (ReadOptions(), wanted, {"scale": {}}, Cluster(), FIT_ROWS, lambda line: None)
    streamed.scan_streamed(found, None, out, sieve, *options)
    table = sum((out / f"issues.{ending}").stat().st_size for ending in ("parquet", "csv"))
    stored = sum(path.stat().st_size for path in folder.glob("block-*"))
    return {
        "rows": n_rows,
        "detector": detector,
        "cpu_seconds": {name: round(value, 3) for name, value in seconds.items()},
        "cpu_total": round(sum(seconds.values()), 3),
        "clock": round(time.perf_counter() - clock, 1),
        "peak_mib": round(peak_mib(), 1),
        "peak_mib_at_start": round(base, 1),
        "features_bytes_per_row": round(stored / n_rows, 1),
        "issues_bytes_per_row": round(table / n_rows, 1),
        "n_label_issues": sieve.summary_["n_label_issues"],
        "noise_rate": sieve.summary_["noise_rate"]["estimate"],
    }


def encode_images(folder: Path) -> dict[str, Any]:
    """Images a second of `labelsieve scan --engine ray` over JPEG files in tar shards."""
    import io
    import tarfile

    from extraction import photos

    from labelsieve.backbones import load_backbone
    from labelsieve.scale.blocks import TarBlock
    from labelsieve.scale.encode import encode_block
    from labelsieve.scale.ledger import Ledger

    files = photos(64)
    for shard in range(SHARDS):
        with tarfile.open(folder / f"photos-{shard:03d}.tar", "w") as archive:
            for row in range(IMAGES // SHARDS):
                key, label = f"{shard:03d}-{row:05d}", f"class {row % 2}"
                for name, data in ((f"{key}.jpg", files[row % 64]), (f"{key}.cls", label.encode())):
                    info = tarfile.TarInfo(name)
                    info.size = len(data)
                    archive.addfile(info, io.BytesIO(data))
    out, flags = folder / "out", ("--engine", "ray", "--workers", str(WORKERS))
    model = ("--model", "mini-glyph", "--detector", "label-match", "--tuner", "zero-shot")
    verb = [sys.executable, "-m", "labelsieve", "scan", str(folder), "-o", str(out)]
    subprocess.run([*verb, *model, *flags, "--offline", "-q"], check=True)
    record = json.loads((out / "run.json").read_text())["scale"]
    size = sum(path.stat().st_size for path in folder.glob("*.tar"))
    backbone, ledger = load_backbone("mini-glyph", device="cpu"), Ledger(folder / "one")
    ledger.claim("one", {})
    started = time.process_time()
    encode_block(TarBlock(0, str(folder / "photos-000.tar")), backbone, ledger)
    one = time.process_time() - started
    return {
        "images": record["rows"],
        "workers": WORKERS,
        "seconds": record["seconds"],
        "images_per_second": round(record["rows"] / record["seconds"], 1),
        "cpu_seconds_per_image": round(one * SHARDS / IMAGES, 5),
        "bytes_per_image": round(size / IMAGES),
    }


def measure(arguments: argparse.Namespace) -> None:
    """Everything that is not in the results yet, smallest first."""
    for n_rows in sorted(arguments.rows):
        todo = [d for d in DETECTORS if f"{d} {n_rows}" not in load()]
        if not todo:
            continue
        folder = arguments.folder / f"labelsieve-rows-{n_rows}"
        write_blocks(folder / "features", n_rows)
        for detector in todo:
            command = [sys.executable, __file__, "--only", detector, "--rows", str(n_rows)]
            command += ["--folder", str(folder)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            record = json.loads(done.stdout.splitlines()[-1])
            keep(f"{detector} {n_rows}", record | {"machine": machine()})
            print(f"{detector:<14}{n_rows:>11,}{record['cpu_total']:>9.1f} s", flush=True)
        shutil.rmtree(folder)
    if "encode" not in load():
        with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
            keep("encode", encode_images(Path(folder)) | {"machine": machine()})


def load() -> dict[str, Any]:
    """What was measured so far."""
    return json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}


def keep(name: str, record: dict[str, Any]) -> None:
    """Add a measurement to the results."""
    text = json.dumps(load() | {name: record}, indent=1) + "\n"
    RESULTS.write_text(text, encoding="utf-8")


def main() -> None:
    """Measure what is missing, then write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, nargs="+", default=ROWS)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()))
    parser.add_argument("--only", choices=DETECTORS, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.only:
        found = second_pass(arguments.folder / "features", arguments.rows[0], arguments.only)
        print(json.dumps(found))
        return
    measure(arguments)
    subprocess.run([sys.executable, Path(__file__).with_name("scaling_page.py")], check=True)


if __name__ == "__main__":
    main()
