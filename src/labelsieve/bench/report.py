"""The report of a benchmark: tables in three formats, figures, costs, and what failed."""

from __future__ import annotations

from html import escape
from pathlib import Path

from ..core.serialization import write_text
from ..core.version import __version__
from .figures import draw_all
from .report_tables import (
    cost_table,
    failure_table,
    merit_tables,
    noise_table,
    promise_table,
)
from .results import load_results
from .tables import Table, html, latex, markdown

RULE = (
    "Bold: best of its column, with a lead over the second best that is larger than its spread: "
    "over at least three common seeds, the mean of the paired differences exceeds their standard "
    "deviation (n - 1). A seed decides what is random in a cell (the images drawn, injected noise, "
    "training); where a method and its labels do not depend on it, its seeds agree exactly. "
    "Classifiers are measured after the last epoch; no test image selects anything."
)
STYLE = """body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:2rem auto;padding:0 1rem;
color:#1a1a18;background:#fff}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid #ddd;white-space:nowrap}
th:first-child,td:first-child{text-align:left}.wide{overflow-x:auto}.note{color:#666}
img{max-width:100%}code{background:#f2f2ef;padding:.1rem .3rem}"""


def write_bench_report(results: Path | str, out: Path | str) -> list[Path]:
    """Write report.md, report.tex, report.html and figures/.

    Parameters
    ----------
    results : Path or str
        Folder of `run_suite`.
    out : Path or str
        Folder of the report; files of the same names are replaced.

    Returns
    -------
    list of Path
        The three documents.

    Raises
    ------
    InputError
        If the folder holds no results.
    """
    results, out = Path(results), Path(out)
    suite, table = load_results(results)
    (out / "figures").mkdir(parents=True, exist_ok=True)
    for old in [*(out / "figures").glob("*.png"), *(out / "figures").glob("*.svg")]:
        old.unlink()
    figures = draw_all(table, results, out / "figures")
    labels, failures, promises = noise_table(table), failure_table(table), promise_table(table)
    parts = [part for part in (labels, failures, *merit_tables(table), promises) if part]
    parts += [cost_table(table)] if (table["status"] == "ok").any() else []
    n_ok = int((table["status"] == "ok").sum())
    facts = (
        f"{n_ok} of {len(table)} cells have a result. Seeds {', '.join(map(str, suite.seeds))}. "
        f"labelsieve {__version__}."
    )
    texts = [text for text in (suite.about, facts, RULE) if text]
    documents = {
        "report.md": _markdown(suite.name, texts, parts, figures),
        "report.tex": _latex(suite.name, texts, parts),
        "report.html": _html(suite.name, texts, parts, figures),
    }
    for name, text in documents.items():
        write_text(out / name, text)
    return [out / name for name in documents]


def _markdown(name: str, texts: list[str], parts: list[Table], figures: dict[str, str]) -> str:
    lines = [f"# Benchmark: {name}", *texts, *map(markdown, parts)]
    lines += [f"### {title}\n\n![{title}](figures/{stem}.svg)" for stem, title in figures.items()]
    return "\n\n".join(lines) + "\n"


def _latex(name: str, texts: list[str], parts: list[Table]) -> str:
    head = [f"% Benchmark: {name}", "% needs \\usepackage{booktabs}"]
    return "\n".join([*head, *(f"% {text}" for text in texts), "", *map(latex, parts)]) + "\n"


def _html(name: str, texts: list[str], parts: list[Table], figures: dict[str, str]) -> str:
    body = [f"<h1>Benchmark: {escape(name)}</h1>", *(f"<p>{escape(text)}</p>" for text in texts)]
    body += map(html, parts)
    body += [
        f'<h3>{escape(title)}</h3><img src="figures/{stem}.svg" alt="{escape(title)}">'
        for stem, title in figures.items()
    ]
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(name)}</title>'
        f"<style>{STYLE}</style>\n" + "\n".join(body) + "</html>\n"
    )
