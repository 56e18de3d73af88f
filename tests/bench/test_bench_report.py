"""Tables, the paired rule for bold, curves, and a report that hides no failure."""

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import average_precision_score

from labelsieve.bench.compare import Merit, compare, is_ahead
from labelsieve.bench.curves import GRID, found_on_grid, precision_on_grid
from labelsieve.bench.figures import method_styles, with_clean_start
from labelsieve.bench.report import write_bench_report
from labelsieve.bench.report_tables import (
    cost_table,
    failure_table,
    merit_tables,
    noise_table,
    promise_table,
)
from labelsieve.bench.tables import Entry, Table, html, latex, markdown


def results(values, **more):
    """A table of results: (method, noise) -> accuracies of seeds 1, 2, ..."""
    rows = [
        {"data": "d", "noise": noise, "model": "m", "method": method, "seed": seed}
        | {"status": "ok", "error": None, "accuracy": value, "noise_kind": "symmetric"}
        | {"noise_rate": 0.2, "n_train": 10, "n_classes": 2, "noise_hash": f"{noise}{seed}" * 4}
        | {"seconds_fit": 1.5, "cpu_fit": 1.0, "peak_memory_mb": 400.0, "cell": "c"}
        | more
        for (method, noise), accuracies in values.items()
        for seed, value in enumerate(accuracies, 1)
    ]
    return pd.DataFrame(rows)


def test_bold_needs_a_lead_beyond_its_spread_over_three_common_seeds():
    def series(*values, seeds=(1, 2, 3)):
        return pd.Series(values, index=list(seeds[: len(values)]))

    best = series(0.9, 0.5, 0.7)
    near = series(0.8, 0.4, 0.6)  # far apart over seeds, yet always 0.1 behind
    assert is_ahead({"a": best, "b": near}, higher=True) == "a"
    assert is_ahead({"a": best, "b": near}, higher=False) == "b"
    shaky = series(0.95, 0.2, 0.65)  # leads of -0.05, 0.3, 0.05: mean 0.1, deviation 0.18
    assert is_ahead({"a": best, "b": shaky}, higher=True) is None
    two = {"a": series(0.9, 0.8), "b": series(0.1, 0.1)}
    assert is_ahead(two, higher=True) is None
    apart = {"a": best, "b": series(0.1, 0.1, 0.1, seeds=(3, 4, 5))}
    assert is_ahead(apart, higher=True) is None
    assert is_ahead({"a": best, "b": best}, higher=True) is None
    assert is_ahead({"a": best}, higher=True) is None


def test_mean_deviation_and_n_of_a_table():
    table = results(
        {("a", "x"): [0.8, 0.6, 0.7], ("b", "x"): [0.7, 0.5, 0.6], ("a", "y"): [0.5, 0.7]}
    )
    found = next(compare(table, (Merit("accuracy", "Accuracy"),)))
    a = found.cells["a", ("d", "x")]
    assert (a.mean, a.sd, a.n, a.ahead) == (
        pytest.approx(0.7), pytest.approx(np.std([0.8, 0.6, 0.7], ddof=1)), 3, True,
    )  # fmt: skip
    text = markdown(next(t for t in merit_tables(table) if "Test accuracy" in t.title))
    assert "| a | **0.700 ± 0.100** | 0.600 ± 0.141 (n=2) |" in text
    assert "| b | 0.600 ± 0.100 | – |" in text
    assert "over 3 seeds unless n is shown; higher is better" in text


def test_lower_is_better_where_it_is():
    table = results({("a", "x"): [0.1, 0.1, 0.1], ("b", "x"): [0.2, 0.3, 0.2]})
    table = table.rename(columns={"accuracy": "noise_rate_error"})
    text = markdown(merit_tables(table)[0])
    assert "**0.100 ± 0.000**" in text
    assert "lower is better" in text


def test_failed_and_missing_cells_are_listed():
    table = results({("a", "x"): [0.5, 0.5], ("b", "x"): [0.1]})
    assert failure_table(table) is None
    table.loc[0, ["status", "error"]] = ["failed", "ValueError: no"]
    table.loc[1, "status"] = "missing"
    found = failure_table(table)
    assert found.title == "2 cells without a result"
    assert [[e.text for e in row] for row in found.rows] == [
        ["d | x | m | a", "1", "ValueError: no"],
        ["d | x | m | a", "2", "was not run"],
    ]
    assert "one seed" in merit_tables(table)[0].note
    table.loc[0, "status"] = "missing"
    assert [e.text for e in failure_table(table).rows[0]] == [
        "d | x | m | a",
        "1, 2",
        "was not run",
    ]


def test_costs_and_labels():
    table = results({("a", "x"): [0.5, 0.5, 0.5]})
    assert [e.text for e in cost_table(table).rows[0]] == ["a", "m, d", "3", "1.50", "1.00", "400"]
    assert [e.text for e in noise_table(table).rows[0]] == [
        "d: x", "10", "2", "0.200", "x1x1x1x1, x2x2x2x2, x3x3x3x3",
    ]  # fmt: skip


def test_promises_count_the_cells_that_kept_them():
    table = results({("a", "x"): [0.5, 0.5, 0.5], ("a", "y"): [0.5], ("b", "x"): [0.5]})
    assert promise_table(table) is None
    table["noise_rate_covered"] = [True, True, False, False, True]
    table["noise_rate_low"], table["noise_rate_high"] = 0.1, [0.2, 0.2, 0.2, 0.5, 0.3]
    table["promised_precision"] = [0.8, 0.6, 0.7, 0.7, None]
    table["promised_recall"], table["precision"], table["recall"] = 0.5, 0.6, 0.4
    table.loc[table["noise"] == "y", "noise_kind"] = "human"
    assert [[e.text for e in row] for row in promise_table(table).rows] == [
        ["a", "m", "2 of 4", "0 of 1", "0.18", "0.70 / 0.60", "0.50 / 0.40"],
        ["b", "m", "1 of 1", "–", "0.20", "–", "–"],
    ]


def test_three_formats_escape_what_they_must():
    table = Table("5 % & more", ["a_b", "n"], [[Entry("x|<y>"), Entry("0.5 ± 0.1", True)]], "note")
    assert "| x\\|<y> | **0.5 ± 0.1** |" in markdown(table)
    tex = latex(table)
    assert r"\caption{5 \% \& more}" in tex
    assert r"a\_b & n \\" in tex
    assert r"\textbf{0.5 $\pm$ 0.1}" in tex
    for rule in (r"\toprule", r"\midrule", r"\bottomrule"):
        assert tex.count(rule) == 1
    assert "<td>x|&lt;y&gt;</td><td><strong>0.5 ± 0.1</strong></td>" in html(table)


def test_curves_against_their_definitions():
    rng = np.random.default_rng(0)
    wrong, score = rng.random(400) < 0.3, rng.random(400).round(2)
    precision = precision_on_grid(score, wrong)
    cuts = [score <= cut for cut in np.unique(score)]
    for level in (0.1, 0.5, 1.0):
        reach = [
            wrong[cut].mean() for cut in cuts if wrong[cut].sum() >= level * wrong.sum() - 1e-9
        ]
        assert precision[np.searchsorted(GRID, level)] == pytest.approx(max(reach))
    assert precision.mean() >= average_precision_score(wrong, -score)
    # Seven of ten errors come first, so at a recall of 0.7 nothing right has been looked at.
    exact = np.array([True] * 7 + [False] * 3 + [True] * 3)
    assert precision_on_grid(np.arange(13.0), exact)[140:142].tolist() == [1.0, 10 / 13]
    late = precision_on_grid(np.arange(4.0), np.array([False, True, False, True]))
    assert late.tolist() == [0.5] * len(GRID)  # at recall 0 too: nothing was ever more precise
    found = found_on_grid(score, wrong)
    assert (found[0], found[-1]) == (0.0, pytest.approx(1.0))
    assert (np.diff(found) >= 0).all()
    perfect = found_on_grid(np.where(wrong, 0.0, 1.0), wrong)
    np.testing.assert_allclose(perfect, np.minimum(GRID / wrong.mean(), 1.0), atol=0.01)


def test_clean_labels_start_every_kind_of_noise():
    table = results({("a", "x"): [0.5], ("a", "none"): [0.9]})
    table.loc[table["noise"] == "none", ["noise_kind", "noise_rate"]] = ["none", 0.0]
    got = with_clean_start(table)
    assert sorted(got["noise_rate"]) == [0.0, 0.2]
    assert set(got["noise_kind"]) == {"symmetric"}
    styles = method_styles([f"m{i}" for i in range(8)])
    assert len({(s["color"], s["marker"]) for s in styles.values()}) == 8


def test_the_report_of_a_run(tmp_path, tiny_clip_dir):
    from test_bench_run import run_here, suite_text

    from labelsieve.bench.sources import Places
    from labelsieve.bench.suite_load import parse_suite
    from problems import write_colour_tree

    write_colour_tree(tmp_path / "train")
    methods = """
  match: {detector: label-match}
  broken: {detector: dual-prompts, params: {initial_text: " "}}
  zero-shot: {tuner: zero-shot}
"""
    noise = "none: {kind: none}\n  half: {kind: symmetric, rate: 0.5}"
    text = suite_text(tmp_path / "train", tmp_path / "train", tiny_clip_dir, methods, noise)
    run_here(parse_suite(text), Places(tmp_path / "results"))
    paths = write_bench_report(tmp_path / "results", tmp_path / "report")
    assert [path.name for path in paths] == ["report.md", "report.tex", "report.html"]
    for path in paths:
        written = path.read_text(encoding="utf-8")
        assert "holds no token" in written
        assert "Cost of each method" in written
    figures = {path.name for path in (tmp_path / "report" / "figures").iterdir()}
    for stem in ("accuracy", "precision-recall", "review"):
        assert {f"{stem}-tiny.png", f"{stem}-tiny.svg"} <= figures
    markdown_text = paths[0].read_text(encoding="utf-8")
    for name in figures:
        assert name.endswith(".png") or f"figures/{name}" in markdown_text
