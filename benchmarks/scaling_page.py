"""docs/results/scaling.md from what `scaling.py` measured: growth, and a model for more images.

Prices are assumptions, given here and printed on the page; nothing is typed into it by hand.

    python benchmarks/scaling_page.py [--core-hour 0.04] [--gb-month 0.023] [--cores 64 1000]
"""

from __future__ import annotations

import argparse
import json
import math
from typing import Any

from scaling import CLASSES, DETECTORS, FIT_ROWS, RESULTS, load
from timing import RESULTS as SPEED

PAGE = RESULTS.with_suffix(".md")
GPU = RESULTS.with_name("gpu.json")
STAGES = ("ids", "draw", "score", "write", "report")
SIZES = (10**7, 10**8, 10**9)
WIDTH_HERE, VIT_CORES = 128, 2


def records(detector: str) -> list[dict[str, Any]]:
    """What was measured of a detector, by ascending rows."""
    found = [r for r in load().values() if r.get("detector") == detector]
    return sorted(found, key=lambda record: record["rows"])


def growth(detector: str) -> list[str]:
    """One row a size, with the exponent of growth since the size before."""
    lines = [
        f"## {detector}",
        "",
        f"| rows | {' | '.join(STAGES)} | all | slope | μs a row | peak MiB | above start |",
        "|--:" * (len(STAGES) + 6) + "|",
    ]
    before = None
    for r in records(detector):
        slope = ""
        if before is not None:
            ratio = r["cpu_total"] / before["cpu_total"]
            slope = f"{math.log(ratio) / math.log(r['rows'] / before['rows']):.2f}"
        stages = " | ".join(f"{r['cpu_seconds'][stage]:.2f}" for stage in STAGES)
        above = r["peak_mib"] - r["peak_mib_at_start"]
        lines.append(
            f"| {r['rows']:,} | {stages} | {r['cpu_total']:.1f} | {slope} | "
            f"{1e6 * r['cpu_total'] / r['rows']:.0f} | {r['peak_mib']:,.0f} | {above:,.0f} |"
        )
        before = r
    return [*lines, ""]


def bytes_per_row_of_memory(detector: str) -> float:
    """Growth of the peak between the two largest sizes."""
    a, b = records(detector)[-2:]
    return (b["peak_mib"] - a["peak_mib"]) * 2**20 / (b["rows"] - a["rows"])


def costs(width: int) -> dict[str, Any]:
    """Seconds and bytes of one image, from the largest size of the default detector."""
    import json

    r, speed = records(DETECTORS[0])[-1], json.loads(SPEED.read_text(encoding="utf-8"))
    seconds = {stage: r["cpu_seconds"][stage] / r["rows"] for stage in STAGES}
    vit = {
        kind: VIT_CORES / speed[f"extraction_vit-b-32_{kind}"]["images_per_second"]
        for kind in ("float32", "bfloat16")
    }
    plain = r["features_bytes_per_row"] - 4 * WIDTH_HERE
    return {
        "rows": r["rows"],
        "encode": {"reading, decoding, mini-glyph": load()["encode"]["cpu_seconds_per_image"]}
        | {f"ViT-B/32 {kind}": value for kind, value in vit.items()},
        "score": seconds["score"],
        "driver": sum(seconds[stage] for stage in STAGES if stage != "score"),
        "features": plain + 4 * width,
        "issues": r["issues_bytes_per_row"],
        "memory": bytes_per_row_of_memory(DETECTORS[0]),
    }


def per_million(cost: dict[str, Any]) -> list[str]:
    """What a million images take."""
    found = load()["encode"]
    lines = [
        "## A million images",
        "",
        "| part | core-hours | where from |",
        "|:--|--:|:--|",
    ]
    for name, seconds in cost["encode"].items():
        where = (
            f"processor time of one shard, {found['bytes_per_image'] // 1000} kB JPEG decoded small"
            if name.startswith("reading")
            else "images a second on 2 quiet cores, [Speed](speed.md), decoding included"
        )
        lines.append(f"| encode: {name} | {seconds * 1e6 / 3600:.2f} | {where} |")
    rows = f"the table above, {cost['rows']:,} rows"
    lines += [
        f"| score, on the workers | {cost['score'] * 1e6 / 3600:.3f} | {rows} |",
        f"| driver: ids, subset, tables, report | {cost['driver'] * 1e6 / 3600:.3f} | {rows} |",
        "",
        f"`labelsieve scan --engine ray` over {found['images']:,} of these files with "
        f"{found['workers']} workers and mini-glyph took {found['seconds']:.0f} s, start of Ray "
        f"included: {found['images_per_second']} images a second on {found['machine']}.",
        "",
        f"Storage for a million rows: {cost['features'] / 1e3:.2f} GB of features, "
        f"{cost['issues'] / 1e3:.2f} GB of issues (parquet and CSV, ids of 12 characters); while "
        "the scan runs, the issues lie there twice.",
        "",
    ]
    return lines


def model(cost: dict[str, Any], arguments: argparse.Namespace) -> list[str]:
    """Time, memory, storage and money of the sizes."""
    encode = cost["encode"]["ViT-B/32 bfloat16"]
    hours = [f"hours on {cores:,} cores" for cores in arguments.cores]
    lines = [
        "## A model for more",
        "",
        "Computed from the figures above, not run. **Assumed**: "
        f"${arguments.core_hour:g} a core-hour, ${arguments.gb_month:g} a GB and month, "
        f"{arguments.months:g} month of storage, ViT-B/32 in bfloat16, {arguments.width} features, "
        "costs that stay linear, storage that keeps up, images that are there already. The driver "
        "is one process beside the workers.",
        "",
        f"| images | core-hours | {' | '.join(hours)} | driver hours | driver memory GB | "
        "storage GB | $ compute | $ storage |",
        "|--:" * (7 + len(hours)) + "|",
    ]
    for n in SIZES:
        workers, driver = n * (encode + cost["score"]) / 3600, n * cost["driver"] / 3600
        storage = n * (cost["features"] + 2 * cost["issues"]) / 1e9
        clock = " | ".join(f"{workers / cores + driver:,.1f}" for cores in arguments.cores)
        money = (workers + driver) * arguments.core_hour
        kept = storage * arguments.gb_month * arguments.months
        memory = n * cost["memory"] / 1e9
        lines.append(
            f"| {n:,} | {workers + driver:,.0f} | {clock} | {driver:,.1f} | {memory:,.1f} | "
            f"{storage:,.0f} | {money:,.0f} | {kept:,.0f} |"
        )
    even = (encode + cost["score"]) / cost["driver"]
    return [
        *lines,
        "",
        f"**The next bottleneck** is the driver. It puts ids, subset and tables together in one "
        f"process, {1e6 * cost['driver']:.0f} μs a row: with {even:,.0f} cores the workers need as "
        "long as the driver alone, and more cores help little. Its memory grows by "
        f"{cost['memory']:.0f} bytes a row between the two largest sizes (hashes of the ids and "
        "their order, then scores and error probabilities of all rows for the cuts of the list): "
        f"{cost['memory']:.0f} GB at 10^9, where it has to count scores in bins and sort ids "
        "outside of memory. A listing of files adds to that; workers list tar shards.",
        "",
        *on_a_gpu(),
    ]


def on_a_gpu() -> list[str]:
    """What encoding costs there, by `gpu.py`."""
    if not GPU.exists():
        return ["Not measured on a GPU."]
    found = json.loads(GPU.read_text(encoding="utf-8"))
    rates, alone = found["extraction"]["per_second"], found["extraction"]["encoder"]
    fastest = max(row["per_second"] for row in alone)
    return [
        f"**On a GPU** ([figures](gpu.md)) ViT-B/16 in bfloat16 encodes {fastest:,.0f} images a "
        f"second, {1e6 / fastest / 60:.1f} minutes a million, if they are decoded. From JPEG files "
        f"one process gets {rates['ours_bfloat16']:,.0f}, {1e6 / rates['ours_bfloat16'] / 60:.0f} "
        "minutes a million: reading and decoding are the limit.",
    ]


def main() -> None:
    """Write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--core-hour", type=float, default=0.04, help="dollars")
    parser.add_argument("--gb-month", type=float, default=0.023, help="dollars")
    parser.add_argument("--months", type=float, default=1.0)
    parser.add_argument("--cores", type=int, nargs="+", default=[64, 1000])
    parser.add_argument("--width", type=int, default=512, help="features of an image")
    arguments = parser.parse_args()
    found = [r["machine"].rpartition(", load average ") for r in load().values()]
    machines = sorted({model for model, _, _ in found})
    loads = sorted(float(load) for _, _, load in found)
    lines = [
        "# Scaling: the figures",
        "",
        "Written by `python benchmarks/scaling.py`; see [Scaling out](../scaling.md). What follows",
        f"encoding, over synthetic rows of {WIDTH_HERE} features, {CLASSES} classes and a fifth of",
        f"the labels flipped; the detector is fitted to {FIT_ROWS:,} rows, whose time is left out.",
        "Processor seconds of one core, one run each; peak memory is that of the one process that",
        "does everything (on a cluster the scoring is the workers').",
        "",
        *[line for detector in DETECTORS for line in growth(detector)],
    ]
    if "encode" in load() and len(records(DETECTORS[0])) > 1:
        cost = costs(arguments.width)
        lines += per_million(cost) + model(cost, arguments)
    lines += ["", "## Machine", "", *(f"- {text}" for text in machines), ""]
    lines.append(f"Load averages of {loads[0]:g} to {loads[-1]:g}: processor time was measured so.")
    PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
