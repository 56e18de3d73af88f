"""All speed benchmarks, one process after the other, and one table of ratios at the end.

Each writes its entries into latest.json as soon as it is done (a quick run: into quick.json, which
is not kept), and a benchmark that fails does not stop the others. The figures of a full run also
become docs/results/speed.md.

    python benchmarks/speed.py [--quick]        python benchmarks/speed.py --table
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from timing import RESULTS

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "results" / "speed.md"
FULL = (
    ("prompt_step.py",),
    ("prompt_step.py", "--many", "21000"),
    ("extraction.py",),
    ("cpu_attention.py",),
    ("startup.py",),
    ("detection.py",),
)
SHORT = ("prompt_step.py", "extraction.py", "cpu_attention.py", "startup.py")
QUICK = tuple((name, "--quick") for name in SHORT)


def table(results: dict[str, dict[str, Any]]) -> list[str]:
    """One line a benchmark: ratio, both times, share of the peak, and what else it tells."""
    lines = [f"{'benchmark':<40}{'ratio':>9}{'plain s':>11}{'ours s':>11}{'of peak':>9}  notes"]
    for name, result in results.items():
        cells = [
            _number(result.get("ratio"), ".1f", 9),
            _number(result.get("seconds_plain"), ".3f", 11),
            _number(result.get("seconds_fast"), ".3f", 11),
            _number(result.get("share_of_peak"), ".0%", 9),
        ]
        lines.append(f"{name:<40}{''.join(cells)}  {_notes(result)}".rstrip())
        for rows, record in result.get("by_rows", {}).items():
            times = f"{'':>20}{record['seconds']:>11.1f}{'':>9}"
            lines.append(f"{'  ' + format(int(rows), ',') + ' rows':<40}{times}  {_notes(record)}")
    return lines


def page(results: dict[str, dict[str, Any]]) -> str:
    """The table as a page of the documentation."""
    lines = [
        "# Speed: the figures",
        "",
        "Written by `make bench` from `benchmarks/latest.json`; see [Speed](../speed.md) for what",
        "is compared. Times are medians in seconds.",
        "",
        "| benchmark | ratio | plain | ours | share of peak | notes |",
        "|---|---|---|---|---|---|",
    ]
    for name, result in results.items():
        lines.append(_row(name, result))
        for rows, record in result.get("by_rows", {}).items():
            timed = {**record, "seconds_fast": record["seconds"]}
            lines.append(_row(f"&nbsp;&nbsp;{int(rows):,} rows", timed))
    made = {(r["machine"], r["command"]) for r in results.values() if "machine" in r}
    lines += ["", "## Machine and commands", ""]
    return "\n".join(lines + [f"- `{command}`: {on}" for on, command in sorted(made)]) + "\n"


def _row(name: str, result: dict[str, Any]) -> str:
    cells = [
        _number(result.get("ratio"), ".1f", 0),
        _number(result.get("seconds_plain"), ".3f", 0),
        _number(result.get("seconds_fast"), ".3f", 0),
        _number(result.get("share_of_peak"), ".0%", 0),
    ]
    return f"| {name} | {' | '.join(cells)} | {_notes(result)} |"


def _number(value: float | None, form: str, width: int) -> str:
    return f"{'' if value is None else format(value, form):>{width}}"


def _notes(result: dict[str, Any]) -> str:
    """What an entry holds besides the columns."""
    forms = {
        "over_float32": "{:.1f}x float32",
        "least_cosine": "cosine {:.5f}",
        "gradient_error": "gradient off by {:.1%}",
        "images_per_second": "{:.1f} images/s",
        "ratio_at_peak": "at peak it would be {:.1f}",
        "peak_mib": "{:,.0f} MiB",
        "auroc": "AUROC {:.3f}",
        "recall": "recall {:.3f}",
        "processor_seconds": "{:.0f} processor s",
        "seconds_after_torch": "{:.2f} s after torch",
        "limit": "limit {:g} s",
        "overlap": "same flags {:.3f}",
    }
    notes = [form.format(result[key]) for key, form in forms.items() if key in result]
    if result.get("slopes"):
        notes.append("slopes " + ", ".join(f"{slope:.2f}" for slope in result["slopes"]))
    if any(result.get(key) for key in result if "extrapolated" in key):
        notes.append("plain extrapolated")
    return ", ".join(notes)


def main() -> None:
    """Run everything, then print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="about a minute; nothing is kept")
    parser.add_argument("--table", action="store_true", help="only the table of the last run")
    arguments = parser.parse_args()
    where = RESULTS.with_name("quick.json") if arguments.quick else RESULTS
    if arguments.quick and not arguments.table:
        where.unlink(missing_ok=True)
    failed = []
    for name, *options in () if arguments.table else QUICK if arguments.quick else FULL:
        started = time.perf_counter()
        done = subprocess.run([sys.executable, HERE / name, *options], check=False)
        print(f"{name} {' '.join(options)}: {time.perf_counter() - started:.0f} s", flush=True)
        if done.returncode:
            failed.append(name)
    results = json.loads(where.read_text(encoding="utf-8")) if where.is_file() else {}
    if not arguments.quick:
        PAGE.write_text(page(results), encoding="utf-8")
    print("\n" + "\n".join(table(results)))
    if failed:
        sys.exit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
