"""Confirmed labels held fixed: the likelihood, every detector, and the estimates."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit, softmax

from labelsieve.core.exceptions import InputError
from labelsieve.data import load_images
from labelsieve.detectors import DETECTORS
from labelsieve.detectors.latent_label import LatentLabel
from labelsieve.selection.latent_labels import fit_latent_labels
from labelsieve.selection.noise_em import fit_matrix, log_likelihood, uniform_noise
from labelsieve.sieve import LabelSieve, scan
from labelsieve.sieve.decisions import Decision, Decisions, hold
from labelsieve.sieve.estimates import intercept_shift
from labelsieve.sieve.gate import check_gate
from labelsieve.sieve.summary import doubted_classes, summarize
from problems import clustered_features, write_colour_tree

NAMES = ("red", "green", "blue", "yellow")


@pytest.fixture
def images(tmp_path):
    return load_images(write_colour_tree(tmp_path / "photos"))


def decide(**actions):
    """Decisions from id=("action", label) with "__" for "/" and "_" for "-"."""
    rows = [
        Decision(f"{k.replace('__', '/').replace('_', '-')}.png", *v) for k, v in actions.items()
    ]
    return Decisions(tuple(rows), "test")


DECIDED = {
    "green__red_12": ("relabel", "red"),
    "blue__green_12": ("keep",),
    "red__blue_12": ("drop",),
    "red__red_00": ("unsure",),
}


def test_the_likelihood_observes_known_labels():
    rng = np.random.default_rng(0)
    logits, labels = rng.normal(size=(5, 3)), np.array([0, 1, 2, 0, 1])
    known = np.array([-1, 1, 0, -1, 2])
    matrix = np.array([[0.7, 0.2, 0.1], [0.0, 0.9, 0.1], [0.3, 0.3, 0.4]])
    q, terms = softmax(logits, axis=1), []
    for i in range(5):
        true = range(3) if known[i] < 0 else [known[i]]
        terms.append(sum(q[i, t] * matrix[t, labels[i]] for t in true))
    assert log_likelihood(logits, matrix, labels, known) == pytest.approx(np.log(terms).mean())


def test_the_noise_matrix_counts_known_pairs():
    labels, known = np.array([0, 0, 1, 1, 2, 2]), np.array([0, 1, 1, 1, 2, 0])
    start = uniform_noise(3, 0.3)
    found = fit_matrix(np.zeros((6, 3)), start, labels, 1, 0.0, known)
    np.testing.assert_allclose(found, [[1 / 2, 0, 1 / 2], [1 / 3, 2 / 3, 0], [0, 0, 1]])


def test_nothing_known_changes_nothing():
    x, given, _ = clustered_features(200, width=8)
    zero_shot = np.random.default_rng(0).normal(size=(200, 4))
    plain = fit_latent_labels(x, given, zero_shot, n_repeats=1)
    none = fit_latent_labels(x, given, zero_shot, n_repeats=1, known_labels=np.full(200, -1))
    np.testing.assert_array_equal(plain.posterior, none.posterior)
    np.testing.assert_array_equal(plain.model_p_clean, plain.p_clean)


def test_known_labels_improve_the_rest_and_are_certain():
    """A prior that knows nothing and few samples: a reviewed third must help the others."""
    x, given, true = clustered_features(160, width=16, seed=4)
    zero_shot = np.zeros((160, 4))
    known = np.where(np.arange(160) % 3 == 0, true, -1)
    plain = fit_latent_labels(x, given, zero_shot, n_repeats=1)
    held = fit_latent_labels(x, given, zero_shot, n_repeats=1, known_labels=known)
    seen, rest = known >= 0, known < 0
    np.testing.assert_array_equal(held.p_clean[seen], (given == true)[seen])
    np.testing.assert_array_equal(held.posterior[seen], np.eye(4)[true[seen]])
    assert (held.model_p_clean[seen] != held.p_clean[seen]).all()

    def log_loss(p):
        p = np.clip(p[rest], 1e-6, 1 - 1e-6)
        return -np.where((given == true)[rest], np.log(p), np.log(1 - p)).mean()

    assert log_loss(held.p_clean) < log_loss(plain.p_clean)


def test_the_detector_checks_known_labels(tiny_backbone):
    x, given, true = clustered_features(width=tiny_backbone.embed_dim)
    detector = LatentLabel(tiny_backbone, class_names=NAMES, n_repeats=1)
    with pytest.raises(InputError, match=r"known_labels: expected shape \(120,\)"):
        detector.fit(x, given, known_labels=true[:3])
    detector.fit(x, given, known_labels=np.where(np.arange(120) < 9, true, -1))
    np.testing.assert_array_equal(detector.is_label_issue_[:9], (given != true)[:9])
    np.testing.assert_array_equal(detector.probabilities_[:9], np.eye(4)[true[:9]])


@pytest.mark.parametrize("name", DETECTORS.names())
def test_decisions_have_the_last_word_with_every_detector(name, images, tiny_backbone):
    params = {"epochs": 2} if "epochs" in DETECTORS.get(name)().get_params() else None
    sieve = LabelSieve(tiny_backbone, detector=name, detector_params=params, tuner="zero-shot")
    table = sieve.fit(images, decisions=decide(**DECIDED)).issues_.table.set_index("id")
    assert len(table) == 42
    assert table["given_label"].tolist() == [name.split("/")[0] for name in images.ids]
    columns = ["action", "suggested_label", "is_label_issue", "label_score", "p_clean"]
    rows = [table.loc[f"{k.replace('__', '/').replace('_', '-')}.png", columns] for k in DECIDED]
    assert rows[0].tolist() == ["relabel", "red", True, 0.0, 0.0]
    assert rows[1].fillna("-").tolist() == ["keep", "-", False, 1.0, 1.0]
    assert rows[2].fillna("-").tolist() == ["drop", "-", True, 0.0, 0.0]
    assert rows[3]["action"] in ("keep", "review", "relabel", "drop")
    decided = sieve.held_.decided
    kept = dict(zip(images.ids, sieve.kept_labels_, strict=True))
    index = {name: k for k, name in enumerate(images.class_names)}
    assert kept["green/red-12.png"] == index["red"]
    assert kept["blue/green-12.png"] == index["blue"]
    assert kept["red/blue-12.png"] == -1
    figures = sieve.summary_["decisions"]
    assert [figures[k] for k in ("n", "keep", "relabel", "drop", "unsure")] == [4, 1, 1, 1, 1]
    flagged = sieve.detector_.is_label_issue_
    assert figures["n_flagged_left"] == (flagged & ~decided).sum()
    np.testing.assert_allclose(sieve.noise_matrix_.sum(axis=1), 1.0)


def test_unreadable_and_unlabeled_rows_can_be_decided(tmp_path, tiny_backbone):
    root = write_colour_tree(tmp_path / "photos")
    (root / "red" / "broken.png").write_bytes(b"no image")
    (root / "loose.png").write_bytes((root / "red" / "red-00.png").read_bytes())
    rows = (Decision("red/broken.png", "drop"), Decision("loose.png", "relabel", "red"))
    sieve = LabelSieve(tiny_backbone, tuner="zero-shot")
    table = sieve.fit(root, decisions=Decisions(rows, "x")).issues_.table.set_index("id")
    broken = table.loc["red/broken.png"]
    assert [broken["action"], broken["is_label_issue"]] == ["drop", False]  # no wrong label
    assert np.isnan(broken["label_score"])
    plain = LabelSieve(tiny_backbone, tuner="zero-shot").fit(root)
    judged = [check_gate(fitted.issues_, None, None).n_judged for fitted in (plain, sieve)]
    assert judged == [len(table) - 2] * 2
    loose = table.loc["loose.png"]
    assert [loose["action"], loose["suggested_label"]] == ["relabel", "red"]
    assert not loose["is_label_issue"]
    assert np.isnan(loose["label_score"])
    assert sieve.summary_["n_unreadable"] == 1
    assert sieve.kept_labels_[list(sieve.issues_.table["id"]).index("loose.png")] == 2


def test_classes_whose_labels_nearly_all_look_wrong_are_told():
    names, judged = ["cat", "felid", "axolotl", "dog", "none"], np.array([50, 20, 20, 4, 0])
    (note,) = doubted_classes(names, judged, np.array([44, 18, 20, 4, 0]))
    assert "nearly all labels of 'felid' (18 of 20), 'axolotl' (20 of 20) look wrong" in note
    assert "other words for it with --class-names" in note
    assert doubted_classes(names, judged, np.array([44, 17, 17, 4, 0])) == []
    (note,) = doubted_classes([f"c{k}" for k in range(12)], np.full(12, 9), np.full(12, 9))
    assert "'c9' (9 of 9) and 2 more classes look wrong" in note


def test_a_doubted_class_is_a_warning_of_the_scan_unless_people_decided(
    images, tiny_backbone, caplog
):
    sieve = LabelSieve(tiny_backbone, detector="knn", tuner="zero-shot").fit(images)
    detector, first = sieve.detector_, images.given_labels == 0
    detector.is_label_issue_ = first
    found = summarize(detector, images, sieve.noise_matrix_)["warnings"]
    assert found == [*images.notes, caplog.messages[-1]]
    n = int(first.sum())
    assert f"nearly all labels of {images.class_names[0]!r} ({n} of {n})" in found[-1]
    dropped = Decisions(tuple(Decision(i, "drop") for i in images.ids[first]), "x")
    held = hold(dropped, images)
    assert summarize(detector, images, sieve.noise_matrix_, held)["warnings"] == list(images.notes)


def test_a_scan_records_and_keeps_its_decisions(images, tmp_path, tiny_backbone):
    out = tmp_path / "out"
    sieve = LabelSieve(tiny_backbone, tuner="zero-shot")
    scan(images, out, sieve, decisions=decide(**DECIDED))
    record = json.loads((out / "run.json").read_text())["decisions"]
    counts = {"n": 4, "keep": 1, "relabel": 1, "drop": 1, "unsure": 1}
    assert record == {"source": "test"} | counts
    written = pd.read_csv(out / "decisions.csv", keep_default_na=False)
    assert written["action"].tolist() == ["relabel", "keep", "drop", "unsure"]
    assert written["label"].tolist()[1:] == ["blue", "", ""]  # which label was kept
    scan(images, out, LabelSieve(tiny_backbone, tuner="zero-shot"), force=True)
    assert not (out / "decisions.csv").exists()
    assert json.loads((out / "run.json").read_text())["decisions"] is None
    summary = json.loads((out / "summary.json").read_text())
    assert summary["decisions"] is None


def test_decided_rows_count_exactly_and_correct_the_others(images, tiny_backbone):
    """The formula of docs/decisions.md, restated row by row."""
    ids = [name for name in images.ids if name.split("/")[0] != name.split("/")[1][:-7]]
    rows = [Decision(name, "relabel", name.split("/")[1][:-7]) for name in ids[:4]]
    rows += [Decision(f"red/red-0{i}.png", "keep") for i in range(3)]
    sieve = LabelSieve(tiny_backbone, tuner="zero-shot")
    sieve.fit(images, decisions=Decisions(tuple(rows), "x"))
    detector, held = sieve.detector_, sieve.held_
    before = 1 - detector.model_p_clean_
    wrong, decided = 1 - detector.p_clean_, held.decided
    np.testing.assert_array_equal(wrong[decided], held.wrong()[decided])
    order = np.sort(before)[::-1]
    f1 = 2 * np.cumsum(order) / (np.arange(1, 43) + order.sum())
    flagged = before >= max(order[f1.argmax()], 0.2)
    expected = wrong.copy()
    for group, name in ((flagged, "reviewed_flagged"), (~flagged, "reviewed_unflagged")):
        seen = group & decided
        figures = sieve.summary_["decisions"][name]
        if not seen.any():
            assert figures is None
            continue
        assert figures["n"] == seen.sum()
        assert figures["n_wrong"] == held.wrong()[seen].sum()
        assert figures["expected_wrong"] == pytest.approx(before[seen].sum())
        d = figures["shift"]
        p = expit(logit(np.clip(before[seen], 1e-6, 1 - 1e-6)) + d)
        assert (held.wrong()[seen] - p).sum() == pytest.approx(d, abs=1e-6)
        rest = group & ~decided
        expected[rest] = expit(logit(np.clip(wrong[rest], 1e-6, 1 - 1e-6)) + d)
    rate = sieve.summary_["noise_rate"]
    assert rate["estimate"] == pytest.approx(expected.mean())
    assert "7 decided rows count exactly, and correct" in rate["method"]
    issue = detector.is_label_issue_
    assert sieve.summary_["expected"]["precision"] == pytest.approx(expected[issue].mean())
    left = sieve.summary_["decisions"]
    assert left["expected_errors_left"] == pytest.approx(expected[~decided].sum())


def test_the_shift_follows_the_observations_and_is_held_back_when_they_are_few():
    assert intercept_shift(np.array([0.5, 0.5]), np.array([1.0, 0.0])) == 0.0
    few = intercept_shift(np.full(3, 0.5), np.ones(3))
    many = intercept_shift(np.full(300, 0.5), np.ones(300))
    assert 0 < few < many
    assert few == pytest.approx(3 * (1 - expit(few)), abs=1e-9)
    rng = np.random.default_rng(0)
    p = rng.uniform(0.05, 0.95, 4000)
    outcomes = (rng.uniform(size=4000) < expit(logit(p) - 1.0)).astype(float)
    assert intercept_shift(p, outcomes) == pytest.approx(-1.0, abs=0.12)


def test_everything_decided_leaves_no_interval(images, tiny_backbone):
    rows = [
        Decision(name, "relabel", name.split("/")[1][:-7]) for name in images.ids
    ]  # half of them are what is given: a keep
    sieve = LabelSieve(tiny_backbone, tuner="zero-shot")
    sieve.fit(images, decisions=Decisions(tuple(rows), "x"))
    assert sieve.summary_["noise_rate"]["estimate"] == pytest.approx(6 / 42)
    assert sieve.summary_["noise_rate"]["interval"] == [pytest.approx(6 / 42)] * 2
    assert sieve.summary_["expected"] == {
        "precision": 1.0, "precision_interval": [1.0, 1.0], "recall": 1.0, "n_errors": 6.0,
    }  # fmt: skip
    true = np.array([COLOUR[name.split("/")[1][:-7]] for name in images.ids])
    np.testing.assert_array_equal(sieve.kept_labels_, true)


COLOUR = {"blue": 0, "green": 1, "red": 2}
