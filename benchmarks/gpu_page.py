"""The page of the GPU benchmarks, from what `gpu.py` measured."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

Rows = list[list[str]]


def table(head: list[str], rows: Rows) -> str:
    """A table in Markdown; all columns but the first are figures."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines) + "\n"


def number(value: float | None, digits: int = 1) -> str:
    """A figure, or a dash where there is none."""
    return "–" if value is None else f"{value:,.{digits}f}"


def percent(value: float | None) -> str:
    """A share."""
    return "–" if value is None else f"{100 * value:.0f} %"


def ratio(value: float | None) -> str:
    """How many times."""
    return "–" if value is None else f"{value:.1f}x"


def peak(found: dict[str, Any], size: int) -> str:
    """What shares are taken of."""
    kinds = {f"product of {size} x {size}, {kind}": kind for kind in ("float32", "bfloat16")}
    rows = [[name, f"{number(found[kind])} TFLOP/s"] for name, kind in kinds.items()]
    rows.append(
        ["copy in the device's memory, read and written", f"{number(found['copy_gb'])} GB/s"]
    )
    return table(["peak, the fastest of several", "measured"], rows) + (
        "\nTF32 is off in matrix products, as torch has it by default.\n"
    )


def prompts(found: list[dict[str, Any]], chunk: int) -> str:
    """Prompt steps; the default took `chunk` tokens at a time."""
    head = ["classes, precision", "ours, ms", "share of peak", "GiB", "one chunk, ms", "GiB"]
    head += ["textbook, ms", "GiB", "ratio", "gradient error"]
    rows = [
        [
            f"{row['classes']:,}, {row['kind']}",
            number(row["ms"], 2),
            percent(row["share"]),
            number(row["gib"], 2),
            number(row["one_chunk_ms"], 2),
            number(row["one_chunk_gib"], 2),
            number(row.get("plain_ms"), 2),
            number(row.get("plain_gib"), 2),
            ratio(row.get("ratio")),
            f"{row['gradient_error']:.1e}" if "gradient_error" in row else "–",
        ]
        for row in found
    ]
    return table(head, rows) + (
        "\nThe textbook step runs the image encoder on 32 images and the text encoder on all 77 "
        "positions of every prompt, in the same precision. The error is the largest of any entry "
        "against the textbook's gradient in float32, as a share of its largest entry. One chunk: "
        f"all classes in one pass, where the default took {chunk:,} tokens at a time. Memory is "
        "the most in use at once, models included.\n"
    )


def trained(rows: list[tuple[str, dict[str, Any]]]) -> str:
    """Steps of the training loop."""
    head = ["step of a batch", "ms", "from to", "images/s", "share of peak", "GiB", "to `none`"]
    return table(
        head,
        [
            [
                name,
                number(row["ms"], 2),
                " to ".join(number(value, 2) for value in row["range_ms"]),
                number(row["per_second"], 0),
                percent(row["share"]),
                number(row["gib"], 2),
                ratio(row.get("times_none")),
            ]
            for name, row in rows
        ],
    )


def extraction(found: dict[str, Any]) -> str:
    """Features a second."""
    rows = [
        [f"encoder alone, bfloat16, batch {row['batch']}", number(row["per_second"], 0)]
        + [percent(row["share"])]
        for row in found["encoder"]
    ]
    kinds = {"ours": "files to features, ours", "plain": "files to features, plain loop"}
    for kind in ("float32", "bfloat16"):
        for name, words in kinds.items():
            rows.append(
                [f"{words}, {kind}", number(found["per_second"].get(f"{name}_{kind}"), 0), "–"]
            )
    return table(["ViT-B/16", "images/s", "share of peak"], rows) + (
        f"\n{found['files']:,} JPEG files of 500 x 375, once each; the plain loop is a DataLoader "
        f"with {found['workers_plain']} processes. Reading and decoding bound both.\n"
    )


def kernels(rows: list[tuple[str, dict[str, Any]]]) -> str:
    """Where the time goes."""
    kinds = list(rows[0][1]["kinds"])
    head = ["step", "kernels run, ms", "idle", "launches", *kinds]
    body = [
        [
            name,
            number(time["busy_ms"], 2),
            percent(time["idle"]),
            number(time["launches"], 0),
            *[percent(time["kinds"][kind]) for kind in kinds],
        ]
        for name, time in rows
    ]
    return table(head, body) + (
        "\nKinds are shares of the time in which kernels run, by their names; idle is the share of "
        "the step in which none does. Attention of the prompts is made of matrix products and a "
        "softmax and is counted as these.\n"
    )


def page(found: dict[str, Any]) -> str:
    """All sections that were measured, in Markdown."""
    parts = ["# On a GPU\n"]
    parts.append(
        "Prompt tuning, DeFT's phase 1, full fine-tuning and extraction in CLIP ViT-B/16's shape "
        "with random weights and inputs, in bfloat16 where nothing else is said. Medians of "
        "several steps after a warm-up. What is counted as necessary work is said at the head of "
        "`benchmarks/gpu.py`.\n"
    )
    whole = sum(found["seconds"].values())
    parts.append(f"`{found['command']}`, {whole:.0f} s on {found['machine']}.\n")
    if "peak" in found:
        parts += ["## Peak\n", peak(found["peak"], found["sizes"]["product"])]
    steps, times = [], []
    if "prompts" in found:
        parts += ["## Prompt tuning\n", prompts(found["prompts"], found["chunk_tokens"])]
        times += [
            (f"prompts, {r['classes']:,} classes", r["time"])
            for r in found["prompts"]
            if "time" in r
        ]
    for row in found.get("phase_one", []):
        steps.append((f"phase 1, `{row['tuning']}`", row))
    if "fine_tuning" in found:
        steps.append(("full fine-tuning", found["fine_tuning"]))
    times += [(name, row["time"]) for name, row in steps]
    if steps:
        sizes = found["sizes"]
        words = f"Batches of {sizes['batch']} images, {sizes['labels']} classes.\n"
        parts += ["## Phase 1 and fine-tuning\n", words, trained(steps)]
    if "extraction" in found:
        parts += ["## Extraction\n", extraction(found["extraction"])]
    if times := [(name, time) for name, time in times if time]:
        parts += ["## Where the time goes\n", kernels(times)]
    return "\n".join(parts)


def main() -> None:
    """Write the page anew from gpu.json, which lies beside it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("docs/results"))
    out = parser.parse_args().out
    found = json.loads((out / "gpu.json").read_text(encoding="utf-8"))
    (out / "gpu.md").write_text(page(found), encoding="utf-8")


if __name__ == "__main__":
    main()
