"""Filters, orders and windows against textbook loops; the estimate against its formula."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from labelsieve.core.exceptions import InputError
from labelsieve.detectors import LabelIssues
from labelsieve.review.estimate import EDGES, STRENGTH, remaining_errors, wrong_probability
from labelsieve.review.evidence import evidence
from labelsieve.review.order import expected_gain, orders
from labelsieve.review.overlay import CODES
from labelsieve.review.pairs import frequent_pairs
from labelsieve.review.query import Query, matching, parse_query, window
from labelsieve.review.table import read_issue_table
from labelsieve.sieve.estimates import ErrorEstimate, noise_rate


@pytest.fixture
def table(scan_folder):
    return read_issue_table(scan_folder)


@pytest.fixture
def decided():
    return np.random.default_rng(0).choice(5, 80, p=[0.6, 0.1, 0.1, 0.1, 0.1]).astype(np.int8)


def loop(table, query, decided):
    """The rows that pass, one by one."""
    words = ["undecided", *CODES]
    for row in range(len(table)):
        flagged = table.is_issue[row] or table.action[row] in ("relabel", "drop", "review")
        word, score = words[decided[row]], table.label_score[row]
        is_open = word in ("undecided", "unsure")
        yield (
            (query.scope == "all" or flagged)
            and (
                query.state in ("any", word)
                or (query.state == "undecided" and is_open)
                or (query.state == "decided" and not is_open)
            )
            and query.given in (None, table.given[row])
            and query.suggested in (None, table.suggested[row])
            and query.action in ("", table.action[row])
            and ((query.low, query.high) == (0, 1) or query.low <= score <= query.high)
            and query.text.lower() in table.files[row] + table.ids[row]
        )


def test_filters_equal_a_loop(table, decided):
    states, texts = ("any", "undecided", "decided", "keep", "unsure"), ("", "7", "ID-1")
    choices = itertools.product(("flagged", "all"), states, (None, 0), (None, 1), texts)
    for scope, state, given, suggested, text in choices:
        for action, low, high in (("", 0, 1), ("relabel", 0.1, 0.9)):
            query = Query(scope, state, given, suggested, action, low, high, text)
            expected = list(loop(table, query, decided))
            np.testing.assert_array_equal(matching(table, query, decided), expected)


def test_windows_walk_through_every_row_even_when_rows_leave_the_list(table):
    order = orders(table)["worst"]
    rank, decided, seen, after = np.argsort(order), np.zeros(80, np.int8), [], None
    while True:  # each row is decided as soon as it is seen
        found = order[matching(table, Query(state="undecided"), decided)[order]]
        _, rows = window(found, rank, Query(after=after, limit=1))
        if not len(rows):
            break
        after = int(rows[0])
        seen.append(after)
        decided[after] = CODES["keep"]
    assert seen == [row for row in order if table.is_flagged[row]]
    found = order[table.is_flagged[order]]
    offset, rows = window(found, rank, Query(before=int(found[7]), limit=3))
    assert (offset, rows.tolist()) == (4, found[4:7].tolist())


def test_worst_is_the_order_of_the_issues_table(table, scan_folder):
    order = orders(table)["worst"]
    judged = order[~np.isnan(table.label_score[order])]
    assert judged.tolist() == LabelIssues.load(scan_folder).worst().index.tolist()
    assert order[-1] == 3
    by_class = orders(table)["class"]
    assert np.all(np.diff(table.given[by_class]) >= 0)


def test_expected_gain_is_the_chance_that_the_proposal_is_wrong(table):
    gain = expected_gain(table)
    assert np.isnan(gain[3])
    assert gain[1] == pytest.approx(1 - table.p_clean[1])  # keep
    p, given, predicted = table.p_clean[16], table.p_given[16], table.p_predicted[16]
    assert table.action[16] == "relabel"
    assert gain[16] == pytest.approx(1 - (1 - p) * predicted / (1 - given))
    ranked = orders(table)["gain"]
    assert np.all(np.diff(gain[ranked[:-1]]) <= 0)
    assert ranked[-1] == 3


def test_bad_queries_name_every_problem():
    with pytest.raises(InputError, match="2 problems") as caught:
        parse_query({"order": "best", "given": "x"})
    assert "worst, gain, class" in str(caught.value)
    for bad in ({"limit": "201"}, {"limit": "0"}, {"offset": "-1"}):
        with pytest.raises(InputError, match=r"limit in 1\.\.200"):
            parse_query(bad)
    for bad in ("nan", "inf", "1e400", "9" * 400):
        with pytest.raises(InputError, match="not a number"):
            parse_query({"low": bad})
    assert parse_query({"given": "2", "low": "0.5", "unknown": "1"}) == Query(given=2, low=0.5)


def test_estimate_starts_at_the_scan_and_follows_the_formula(table):
    wrong = wrong_probability(table)
    nobody = remaining_errors(wrong, np.zeros(80, np.int8))
    assert nobody["remaining"] == pytest.approx(np.nansum(wrong))
    assert (nobody["found"], nobody["reviewed"]) == (0, 0)
    rng = np.random.default_rng(1)
    decided = rng.choice(5, 80).astype(np.int8)
    expected, variance = 0.0, 0.0
    for low, high in itertools.pairwise([-1.0, *EDGES, 2.0]):
        band = [r for r in range(80) if low <= wrong[r] < high]
        if not band:
            continue
        firm = [r for r in band if decided[r] in (1, 2, 3)]
        x, n = sum(decided[r] in (2, 3) for r in firm), len(firm)
        mean = sum(wrong[r] for r in band) / len(band)
        a, b, u = STRENGTH * mean + x, STRENGTH * (1 - mean) + n - x, len(band) - n
        expected += u * a / (a + b)
        variance += u * a * b * (a + b + u) / ((a + b) ** 2 * (a + b + 1))  # beta-binomial
    result = remaining_errors(wrong, decided)
    assert result["remaining"] == pytest.approx(expected)
    low, high = result["interval"]
    assert (high - low) / 2 == pytest.approx(1.6449 * variance**0.5)


def test_estimate_learns_in_both_directions_and_ends_at_zero(table):
    wrong = wrong_probability(table)
    flagged = np.flatnonzero(table.is_flagged)[:10]
    results = {}
    for action in ("keep", "relabel", "unsure"):
        decided = np.zeros(80, np.int8)
        decided[flagged] = CODES[action]
        results[action] = remaining_errors(wrong, decided)["remaining"]
    assert results["keep"] < results["relabel"] < results["unsure"]
    assert results["unsure"] == pytest.approx(np.nansum(wrong))
    done = remaining_errors(wrong, np.full(80, CODES["keep"], np.int8))
    assert done["remaining"] == 0
    assert done["interval"] == [0, 0]


def test_pairs_equal_a_cross_table(table, decided):
    pairs = frequent_pairs(table, decided)
    assert [(p["given"], p["suggested"], p["n"]) for p in pairs] == [(0, 1, 20)]
    rows = np.flatnonzero(table.is_issue)
    assert pairs[0]["rows"] == rows[np.argsort(table.label_score[rows])][:6].tolist()
    assert pairs[0]["decided"] == np.isin(decided[rows], (1, 2, 3)).sum()


def test_evidence_says_which_signs_agree(table):
    scores = np.sort(table.label_score[~np.isnan(table.label_score)])
    signs = evidence(table, 4, [1] * 7 + [0] * 3, scores)
    assert [s["name"] for s in signs] == ["Detector", "Calibrated", "Prediction", "Neighbours"]
    assert all(sign["against"] for sign in signs)
    assert signs[3]["text"] == "3 of the 10 nearest images have this label, 7 have “dog”"
    assert "“dog” with 98 %, “cat” with 2 %" in signs[2]["text"]
    fine = evidence(table, 5, [1] * 10, scores)
    assert not any(sign["against"] for sign in fine)
    assert evidence(table, 3, [0], scores) == []


@pytest.mark.parametrize("error", [None, 0.5])
@pytest.mark.parametrize("has_probabilities", [True, False])
def test_the_interval_before_any_decision_is_not_narrower_than_that_of_the_scan(
    error, has_probabilities
):
    rng = np.random.default_rng(0)
    wrong = rng.beta(0.1, 0.4, 400) if has_probabilities else (rng.random(400) < 0.2).astype(float)
    nobody = np.zeros(400, dtype=bool)
    found = ErrorEstimate(wrong, wrong > 0.5, nobody, has_probabilities, {}, error)
    said = noise_rate(found)
    shown = remaining_errors(wrong, np.zeros(400, np.int8), model_logit_sd=said["model_logit_sd"])
    assert shown["noise_rate"] == pytest.approx(said["estimate"])
    assert shown["noise_interval"][0] <= said["interval"][0] + 1e-9
    assert shown["noise_interval"][1] >= said["interval"][1] - 1e-9
    without = remaining_errors(wrong, np.zeros(400, np.int8))
    assert (shown["interval"] == without["interval"]) == (error is None)
    decided = np.full(400, CODES["keep"], np.int8)
    done = remaining_errors(wrong, decided, model_logit_sd=error)
    assert done["interval"] == [0, 0]


def test_decisions_make_the_error_of_the_model_smaller():
    wrong = np.full(200, 0.3)
    some = np.zeros(200, np.int8)
    some[:21], some[21:30] = CODES["keep"], CODES["relabel"]
    for decided, told in ((np.zeros(200, np.int8), 0.0), (some, 30 * 0.3 * 0.7)):
        wide, narrow = (
            remaining_errors(wrong, decided, model_logit_sd=error)["interval"]
            for error in (0.5, None)
        )
        left, n = np.mean(narrow), (decided == 0).sum()
        slope = left * (1 - left / n)
        more = ((wide[1] - wide[0]) ** 2 - (narrow[1] - narrow[0]) ** 2) / 4 / 1.6449**2
        assert more == pytest.approx(slope**2 / (1 / 0.5**2 + told), rel=1e-6)
