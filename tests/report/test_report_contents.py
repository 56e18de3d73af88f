"""The figures behind the page, against counts made another way."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from labelsieve.report.confusion import class_table, count_matrix, matrix_views, top_pairs
from labelsieve.report.formats import count, percent, seconds
from labelsieve.report.overview import headline, nice_top, score_histogram
from labelsieve.report.page import embedded_json
from labelsieve.report.scan_folder import read_scan


def test_histogram_counts_every_scored_row_once(scan_folder):
    scan = read_scan(scan_folder)
    issues, histogram = scan.issues, score_histogram(scan.counts)
    assert histogram["n"] == sum(entry["n"] for entry in histogram["bins"]) == 99
    assert sum(entry["n_issues"] for entry in histogram["bins"]) == 20
    for entry in histogram["bins"]:
        assert entry["height"] ** 2 * histogram["top"] == pytest.approx(entry["n"])
        assert 0 <= entry["issue_height"] <= entry["height"] <= 1
        low, high = entry["low"], entry["high"]
        assert entry["n"] == issues["label_score"].between(low, high, inclusive="left").sum()


@pytest.mark.parametrize(("largest", "top"), [(0, 4), (4, 4), (5, 8), (21, 40), (5000, 8000)])
def test_axis_ends_on_a_number_whose_quarter_is_whole(largest, top):
    assert nice_top(largest) == top
    assert top % 4 == 0


def test_pairs_and_matrix_agree_with_a_cross_table(scan_folder):
    scan = read_scan(scan_folder)
    issues = scan.issues[scan.issues["is_label_issue"]]
    expected = pd.crosstab(issues["given_label"], issues["suggested_label"])
    expected = expected.reindex(index=scan.classes, columns=scan.classes, fill_value=0)
    np.testing.assert_array_equal(count_matrix(scan), expected.to_numpy())
    pairs = top_pairs(scan)
    assert sum(pair["n"] for pair in pairs) == 20
    assert pairs[0]["share"] == 1
    for pair in pairs:
        assert pair["n"] == expected.loc[pair["given"], pair["suggested"]]
        assert scan.classes[pair["given_index"]] == pair["given"]


def test_noise_matrix_is_shown_with_the_given_class_in_the_rows(scan_folder):
    lines = ["", "cat", "dog", "bird", "fish"], ["cat", 0.5, 0.5, 0, 0], ["dog", 0, 1, 0, 0]
    lines = (*lines, ["bird", 0, 0, 0.9, 0.1], ["fish", 0, 0, 0, 1])
    text = "\n".join(",".join(map(str, line)) for line in lines)
    (scan_folder / "noise_matrix.csv").write_text(text)
    rates = matrix_views(read_scan(scan_folder))["rates"]
    assert rates[1][0]["text"] == "50"  # true cat, given dog
    assert rates[1][0]["level"] == 6
    assert rates[0][1]["text"] == ""
    assert rates[3][2]["text"] == "10"
    assert (rates[0][0]["diagonal"], rates[0][0]["level"]) == (True, 0)


def test_large_matrices_hold_the_most_frequent_pairs(big_folder):
    scan = read_scan(big_folder)
    views = matrix_views(scan)
    assert (views["n_shown"], views["n_classes"]) == (30, 100)
    names = [header["name"] for header in views["headers"]]
    assert {top_pairs(scan)[0]["given"], top_pairs(scan)[0]["suggested"]} <= set(names)
    assert names == sorted(names, key=scan.classes.index)


def test_class_table_counts(scan_folder):
    scan = read_scan(scan_folder)
    scan.summary["per_class"] = [{"class": "cat", "estimated_noise_rate": 0.3}]
    rows = {row["name"]: row for row in class_table(scan)["rows"]}
    assert {row["n"] for row in rows.values()} == {25}
    assert sum(row["n_issues"] for row in rows.values()) == 20
    assert sum(row["n_suggested"] for row in rows.values()) == 20
    assert (rows["cat"]["rate"], rows["dog"]["rate"]) == (0.3, None)


def test_disagreeing_files_are_reported(scan_folder):
    scan = read_scan(scan_folder)
    assert headline(scan)["warnings"] == []
    scan.summary["n_label_issues"] = 21
    assert "summary.json counts 21 label issues" in headline(scan)["warnings"][0]


def test_formats():
    assert (count(1234567), percent(0.12345), percent(0.0004), percent(0)) == (
        "1,234,567",
        "12.3%",
        "0.04%",
        "0%",
    )
    assert (seconds(3.21), seconds(61), seconds(7325)) == ("3.2 s", "1 min 1 s", "2 h 2 min")


def test_embedded_json_has_no_markup_characters():
    text = str(embedded_json({"a": "</script><!-- & \u2028"}))
    assert not set("<>&\u2028") & set(text)
