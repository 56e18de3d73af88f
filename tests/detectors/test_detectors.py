"""The contract of every registered detector."""

import inspect
import pickle

import numpy as np
import pytest
from sklearn.base import clone

from labelsieve.backbones import ImageFeatures
from labelsieve.core.exceptions import InputError
from labelsieve.data import load_images
from labelsieve.detectors import DETECTORS
from labelsieve.detectors.issues import COLUMNS, LabelIssues, build_issues
from labelsieve.sieve.estimates import estimate_errors, noise_rate
from problems import clustered_features, other_torch_defaults, write_colour_tree

NAMES = ("red", "green", "blue", "yellow")


def make(name, backbone, **params):
    detector = DETECTORS.get(name)(backbone, class_names=NAMES, **params)
    if "epochs" in detector.get_params():
        detector.set_params(epochs=2)
    return detector


@pytest.mark.parametrize("name", DETECTORS.names())
class TestEveryDetector:
    def test_scores_flags_and_suggestions(self, name, tiny_backbone):
        x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
        found = make(name, tiny_backbone).fit(x, given)
        assert found.label_score_.shape == (120,)
        assert ((found.label_score_ >= 0) & (found.label_score_ <= 1)).all()
        assert found.is_label_issue_.dtype == bool
        flagged = found.is_label_issue_
        assert (found.suggested_label_[~flagged] == -1).all()
        assert ((found.suggested_label_[flagged] >= 0) ^ found.fits_no_class_[flagged]).all()
        assert (found.suggested_label_[flagged] != given[flagged]).all()
        np.testing.assert_allclose(found.probabilities_.sum(axis=1), 1.0, atol=1e-5)
        assert list(found.issues_.table.columns) == list(COLUMNS)
        assert found.name == name

    def test_same_seed_same_result(self, name, tiny_backbone):
        x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
        a, b = (make(name, tiny_backbone).fit(x, given) for _ in range(2))
        np.testing.assert_array_equal(a.label_score_, b.label_score_)

    def test_unreadable_and_unlabeled_rows_stay_and_change_nothing_else(self, name, tiny_backbone):
        x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
        plain = make(name, tiny_backbone).fit(ImageFeatures(x), given)
        wide = ImageFeatures(np.vstack([x, x[:2]]), {120: "truncated"})
        wide.features[120] = 0
        found = make(name, tiny_backbone).fit(wide, np.append(given, [0, -1]))
        np.testing.assert_array_equal(found.label_score_[:120], plain.label_score_)
        assert np.isnan(found.label_score_[120:]).all()
        table = found.issues_.table
        assert table["action"].tolist()[120:] == ["unreadable", "review"]
        assert table["error"].tolist()[120:] == ["truncated", "the label is missing"]
        assert table["suggested_label"][121] in NAMES

    def test_a_fit_that_fails_leaves_the_one_before(self, name, tiny_backbone, monkeypatch):
        x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
        detector = make(name, tiny_backbone).fit(x, given)
        before = dict(vars(detector))
        scatter = type(detector)._scatter

        def fail(self, *arguments):
            scatter(self, *arguments)
            raise MemoryError

        monkeypatch.setattr(type(detector), "_scatter", fail)
        options = {"known_labels": given} if name == "latent-label" else {}
        with pytest.raises(MemoryError):
            detector.fit(x[:60], given[:60], **{k: v[:60] for k, v in options.items()})
        after = vars(detector)
        assert after.keys() == before.keys()
        assert all(after[attribute] is value for attribute, value in before.items())

    def test_constructor_stores_and_clones(self, name, tiny_backbone):
        cls = DETECTORS.get(name)
        detector = cls(backbone="somewhere")
        assert clone(detector).get_params() == detector.get_params()
        assert set(detector.get_params()) == set(inspect.signature(cls).parameters)

    def test_what_torch_is_set_to_changes_nothing(self, name, tiny_backbone):
        x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
        expected = make(name, tiny_backbone).fit(x, given).label_score_
        with other_torch_defaults():
            found = make(name, tiny_backbone).fit(x, given).label_score_
        np.testing.assert_array_equal(found, expected)

    def test_a_pickle_knows_what_was_found(self, name, tiny_backbone):
        x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
        detector = make(name, tiny_backbone).fit(x, given)
        again = pickle.loads(pickle.dumps(detector))
        np.testing.assert_array_equal(again.label_score_, detector.label_score_)
        assert again.issues_.table.equals(detector.issues_.table)

    def test_a_class_with_one_sample_and_an_empty_class(self, name, tiny_backbone):
        x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
        given = np.where(given == 3, 2, given)
        given[0] = 3
        detector = make(name, tiny_backbone).set_params(class_names=(*NAMES, "nobody"))
        detector.fit(x, given)
        assert np.isfinite(detector.label_score_).all()

    def test_features_need_labels(self, name, tiny_backbone):
        x, _, _ = clustered_features(width=tiny_backbone.embed_dim)
        for features in (x, ImageFeatures(x)):
            with pytest.raises(InputError, match="features come without labels"):
                make(name, tiny_backbone).fit(features)

    def test_bad_input_is_said(self, name, tiny_backbone):
        x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
        with pytest.raises(InputError, match=r"0\.\.3"):
            make(name, tiny_backbone).fit(x, given + 3)
        with pytest.raises(InputError, match="expected integer class indices, but got dtype <U"):
            make(name, tiny_backbone).fit(x, np.array(NAMES)[given])
        with pytest.raises(InputError, match="NaN or infinite"):
            make(name, tiny_backbone).fit(np.full_like(x, np.nan), given)
        with pytest.raises(InputError, match="columns, but"):
            make(name, tiny_backbone).fit(x[:, :3], given)
        with pytest.raises(InputError, match="columns, but"):  # features of another model
            make(name, tiny_backbone).fit(ImageFeatures(x[:, :3]), given)
        with pytest.raises(InputError, match="none of the 120 rows can be used"):
            make(name, tiny_backbone).fit(x, np.full(120, -1))


@pytest.mark.parametrize("name", ["latent-label", "confident-learning", "knn"])
def test_detectors_of_features_find_the_flips(name, tiny_backbone):
    x, given, true = clustered_features(240, width=tiny_backbone.embed_dim)
    found = make(name, tiny_backbone).fit(x, given)
    hits = found.is_label_issue_ & (given != true)
    assert hits.sum() / (given != true).sum() > 0.8
    assert hits.sum() / found.is_label_issue_.sum() > 0.8
    right = found.suggested_label_[hits] == true[hits]
    assert right.mean() > 0.9


def test_small_loss_with_a_known_rate_flags_that_share_of_the_largest_losses(tiny_backbone):
    x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
    mixture = make("small-loss", tiny_backbone).fit(x, given)
    known = make("small-loss", tiny_backbone, noise_rate=0.25).fit(x, given)
    assert known.is_label_issue_.sum() == 30
    p_given = known.probabilities_[np.arange(120), given]
    assert p_given[known.is_label_issue_].max() <= p_given[~known.is_label_issue_].min()
    np.testing.assert_array_equal(known.label_score_, mixture.label_score_)
    with pytest.raises(InputError, match="noise_rate"):
        make("small-loss", tiny_backbone, noise_rate=1.5).fit(x, given)


def test_images_and_their_features_give_the_same(tmp_path, tiny_backbone):
    images = load_images(write_colour_tree(tmp_path))
    a = DETECTORS.get("knn")(tiny_backbone, k=5).fit(images)
    assert a.issues_.table["id"].tolist() == images.ids.tolist()
    assert set(a.issues_.table["given_label"]) == {"red", "green", "blue"}


def test_images_take_an_array_of_labels(tmp_path, tiny_backbone):
    images = load_images(write_colour_tree(tmp_path))
    given = np.where(np.arange(len(images)) == 4, -1, images.given_labels)
    found = DETECTORS.get("knn")(tiny_backbone).fit(images, given).issues_.table
    assert found["id"].tolist() == images.ids.tolist()
    assert found["error"].notna().sum() == 1
    assert found["error"][4] == "the label is missing"


def test_actions_and_suggestions_by_hand():
    issues = build_issues(
        ids=list("abcde"),
        file_names=list("abcde"),
        given_labels=np.array([0, 1, 1, -1, 0]),
        class_names=("cat", "dog", "eel"),
        label_score=np.array([0.9, 0.1, 0.3, np.nan, np.nan]),
        is_label_issue=np.array([False, True, True, False, False]),
        probabilities=np.array(
            [[0.9, 0.1, 0], [0.8, 0.1, 0.1], [0.4, 0.3, 0.3], [0.2, 0.1, 0.7], [np.nan] * 3]
        ),
        p_clean=np.array([0.9, 0.1, 0.3, np.nan, np.nan]),
        detector="x",
        errors={4: "empty file"},
    )
    table = issues.table
    assert table["action"].tolist() == ["keep", "relabel", "review", "review", "unreadable"]
    suggested = table["suggested_label"]
    assert suggested.fillna("-").tolist() == ["-", "cat", "cat", "eel", "-"]
    assert table["p_given"].round(2).fillna(-1).tolist() == [0.9, 0.1, 0.3, -1, -1]
    assert issues.worst()["id"].tolist() == ["b", "c", "a"]
    assert issues.n_issues == 2


def test_issues_round_trip(tmp_path, tiny_backbone):
    x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
    issues = make("knn", tiny_backbone).fit(x, given).issues_
    issues.save(tmp_path)
    assert LabelIssues.load(tmp_path).table.equals(issues.table)
    with pytest.raises(InputError, match="run `labelsieve scan"):
        LabelIssues.load(tmp_path / "nothing")


@pytest.mark.parametrize("rate", [0.05, 0.4])
def test_the_rate_that_small_loss_is_told_is_the_one_that_a_summary_states(rate, tiny_backbone):
    x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
    found = make("small-loss", tiny_backbone, noise_rate=rate).fit(x, given)
    assert found.is_label_issue_.sum() == round(rate * len(given))
    said = noise_rate(estimate_errors(found))
    assert said["estimate"] == pytest.approx(rate, abs=1e-6)
    free = make("small-loss", tiny_backbone).fit(x, given)
    assert (np.diff(found.p_clean_[np.argsort(free.p_clean_)]) >= 0).all()
    again = found.score_features(x, given)
    np.testing.assert_allclose(again.p_clean, found.p_clean_, atol=1e-5)


def test_an_issue_that_is_probably_right_is_not_relabeled_unseen():
    """A detector may flag by a rule of its own, such as the agreement of dual prompts."""
    issues = build_issues(
        ids=list("abcd"), file_names=list("abcd"), given_labels=np.zeros(4, dtype=np.int64),
        class_names=("red", "green"), label_score=np.full(4, 0.4),
        is_label_issue=np.array([True, True, True, False]),
        probabilities=np.array([[0.1, 0.9]] * 4), p_clean=np.array([0.9, 0.5, np.nan, 0.9]),
        detector="made-up", errors={},
    )  # fmt: skip
    assert issues.table["action"].tolist() == ["review", "relabel", "relabel", "keep"]
    assert issues.table["suggested_label"].tolist()[:3] == ["green"] * 3
