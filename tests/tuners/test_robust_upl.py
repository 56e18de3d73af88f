"""Robust UPL: pseudo-labels, their selection, the ensemble, and no look at given labels."""

import numpy as np
import pytest
import torch
from scipy.special import softmax
from torch.nn.functional import normalize

from labelsieve.backbones import load_backbone
from labelsieve.core.exceptions import InputError
from labelsieve.data import load_images
from labelsieve.prompts import zero_shot_classifier
from labelsieve.tuners import load_tuner
from labelsieve.tuners.coop import CoOp
from labelsieve.tuners.inputs import image_features
from labelsieve.tuners.robust_upl import RobustUPL
from labelsieve.tuners.zero_shot import ZeroShot
from problems import clustered_features, write_colour_tree
from tiny_clip import build_tiny_clip

NAMES = ("red", "green", "blue", "yellow")


@pytest.fixture
def x(tiny_backbone):
    """Features around the text features, so that each class is predicted."""
    text = zero_shot_classifier(tiny_backbone, NAMES).weights.numpy()
    noise = np.random.default_rng(0).normal(size=(80, text.shape[1])) * 0.1
    return (text[np.arange(80) % 4] + noise).astype(np.float32)


def robust_upl(backbone, **params):
    given = {"class_names": NAMES, "n_members": 2, "epochs": 2} | params
    return RobustUPL(backbone, **given)


def test_given_labels_are_never_used(tiny_backbone, x):
    without = robust_upl(tiny_backbone).fit(x)
    for labels in (np.full(80, -1), np.zeros(80, dtype=int), np.arange(80) % 4):
        tuner = robust_upl(tiny_backbone).fit(x, labels)
        assert torch.equal(tuner.classifier_.weights, without.classifier_.weights)


def test_images_without_any_label(tiny_backbone, tmp_path):
    images = load_images(write_colour_tree(tmp_path / "photos"))
    labelled = robust_upl(tiny_backbone, class_names=None).fit(images)
    bare = images.with_labels(np.full(len(images), -1))
    tuner = robust_upl(tiny_backbone, class_names=None).fit(bare)
    assert torch.equal(tuner.classifier_.weights, labelled.classifier_.weights)
    assert len(tuner.pseudo_labels_) == len(images)
    with pytest.raises(InputError, match="no readable image has a label"):
        ZeroShot(tiny_backbone).fit(bare)


def test_pseudo_labels_are_zero_shot_predictions(tiny_backbone, x):
    tuner = robust_upl(tiny_backbone, templates="ensemble").fit(x)
    expected = zero_shot_classifier(tiny_backbone, NAMES, "ensemble").predict_proba(x)
    assert tuner.pseudo_labels_.tolist() == expected.argmax(axis=1).tolist()


@pytest.mark.parametrize("selection", ["random", "confident"])
def test_more_shots_than_images_use_all_pseudo_labels(tiny_backbone, x, selection):
    tuner = robust_upl(tiny_backbone, shots=1000, selection=selection, n_members=1).fit(x)
    assert tuner.history_[0]["rows"] == 80
    seed = int(np.random.default_rng(0).integers(2**31 - 1, size=1)[0])
    expected = CoOp(
        tiny_backbone, class_names=NAMES, loss="gce", loss_params={"q": 0.7}, shots=1000, epochs=2,
        random_state=seed,
    ).fit(x, tuner.pseudo_labels_)  # fmt: skip
    assert torch.equal(tuner.classifier_.weights, expected.classifier_.weights)
    assert torch.equal(tuner.context_[0], expected.context_)


def test_the_seed_decides(tiny_backbone, x):
    def weights(seed):
        return robust_upl(tiny_backbone, random_state=seed, shots=3).fit(x).classifier_.weights

    assert torch.equal(weights(0), weights(0))
    assert not torch.equal(weights(0), weights(1))


def test_members_logits_are_averaged(tiny_backbone, x):
    tuner = robust_upl(tiny_backbone, n_members=3, shots=4, initial_text=None, n_context=3).fit(x)
    assert tuner.context_.shape == (3, 3, 32)
    assert [record["member"] for record in tuner.history_] == [0, 0, 1, 1, 2, 2]
    assert all(record["rows"] == 16 for record in tuner.history_)
    assert not torch.equal(tuner.context_[0], tuner.context_[1])
    rows = torch.as_tensor(x)
    members = []
    for seed in np.random.default_rng(0).integers(2**31 - 1, size=3).tolist():
        member = CoOp(
            tiny_backbone, class_names=NAMES, loss="gce", loss_params={"q": 0.7}, shots=4,
            epochs=2, initial_text=None, n_context=3, random_state=seed,
        ).fit(x, tuner.pseudo_labels_)  # fmt: skip
        members.append(member.classifier_.logits(rows))
    expected = torch.stack(members).mean(dim=0)
    torch.testing.assert_close(tuner.classifier_.logits(rows), expected, atol=1e-4, rtol=1e-5)


def test_confident_takes_the_most_probable(tiny_backbone, x, monkeypatch):
    seen = []
    fit_usable = CoOp.fit_usable
    monkeypatch.setattr(
        CoOp,
        "fit_usable",
        lambda self, data, *rest: seen.append(data) or fit_usable(self, data, *rest),
    )
    tuner = robust_upl(tiny_backbone, selection="confident", shots=3, n_members=1).fit(x)
    rows = normalize(torch.as_tensor(x), dim=-1)
    logits = zero_shot_classifier(tiny_backbone, NAMES).logits(rows).numpy()
    p = softmax(logits.astype(np.float64), axis=1)  # in float32 several are 1 exactly
    for k in range(4):
        members = np.flatnonzero(tuner.pseudo_labels_ == k)
        best = members[np.argsort(-p[members, k], kind="stable")[:3]]
        assert sorted(seen[0].rows[seen[0].labels == k]) == sorted(best)


def test_extra_backbones_vote(tiny_backbone, tmp_path, monkeypatch):
    images = load_images(write_colour_tree(tmp_path / "photos"))
    other_dir = build_tiny_clip(tmp_path / "other", seed=5)
    other = load_backbone(other_dir, device="cpu")
    tuner = RobustUPL(tiny_backbone, extra_backbones=[str(other_dir)], n_members=1, epochs=1)
    tuner.fit(images)
    total = 0.0
    for backbone in (tiny_backbone, other):
        weights = zero_shot_classifier(backbone, images.prompt_names).weights.numpy()
        total = total + backbone.logit_scale * image_features(images, backbone).features @ weights.T
    assert tuner.pseudo_labels_.tolist() == total.argmax(axis=1).tolist()
    loaded = RobustUPL(tiny_backbone, extra_backbones=[other], n_members=1, epochs=1).fit(images)
    assert torch.equal(loaded.classifier_.weights, tuner.classifier_.weights)
    again = load_tuner(loaded.save(tmp_path / "m"), backbone=tiny_backbone)
    assert again.extra_backbones == [str(other_dir.resolve())]
    features = clustered_features(width=tiny_backbone.embed_dim)[0]
    with pytest.raises(InputError, match="extra_backbones need images"):
        robust_upl(tiny_backbone, extra_backbones=[other]).fit(features)


def test_classes_that_are_never_predicted_are_told(tiny_backbone, x, caplog):
    p = zero_shot_classifier(tiny_backbone, NAMES).predict_proba(x)
    tuner = robust_upl(tiny_backbone, shots=5).fit(x[p.argmax(axis=1) != 2])
    assert "1 of 4 classes are never predicted" in caplog.text
    assert "blue" in caplog.text
    assert tuner.history_[0]["rows"] == 15
    assert tuner.predict_proba(x).shape == (80, 4)


def test_bad_arguments(tiny_backbone, x):
    for params, message in (
        ({"selection": "best"}, "selection='best' is not known; choose one of random, confident"),
        ({"shots": 0}, "shots must be an integer"),
        ({"n_members": 0}, "n_members must be an integer"),
    ):
        with pytest.raises(InputError, match=message):
            robust_upl(tiny_backbone, **params).fit(x)
    with pytest.raises(InputError, match="class_names"):
        RobustUPL(tiny_backbone).fit(x)
