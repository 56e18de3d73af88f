"""The contract of every registered tuner, and CoOp against a textbook loop."""

import inspect
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, StratifiedKFold, cross_val_predict

from labelsieve.backbones import AbstractBackbone
from labelsieve.core.exceptions import InputError, NotFittedError
from labelsieve.data import load_images
from labelsieve.losses import make_loss
from labelsieve.prompts import zero_shot_classifier
from labelsieve.tuners import TUNERS, load_tuner
from labelsieve.tuners.coop import CoOp
from labelsieve.tuners.fine_tune import FineTune
from labelsieve.tuners.inputs import words_that_fit
from labelsieve.tuners.plan import default_plan
from labelsieve.tuners.zero_shot import ZeroShot
from problems import clustered_features, other_torch_defaults, write_colour_tree

NAMES = ("red", "green", "blue", "yellow")
PRESETS = {"vpt": "fft", "vlpt": "coop"}  # settings of another tuner, saved as what they are


def make(name, backbone, **params):
    tuner = TUNERS.get(name)(backbone, class_names=NAMES, **params)
    return tuner.set_params(epochs=3) if "epochs" in tuner.get_params() else tuner


def problem(name, backbone, folder):
    """Features with labels; images for the tuners that look at pixels."""
    tuner = TUNERS.get(name)()
    if isinstance(tuner, FineTune) or tuner.get_params().get("visual_tuning", "none") != "none":
        return load_images(write_colour_tree(folder, per_class=8)), None
    return clustered_features(width=backbone.embed_dim)[:2]


@pytest.mark.parametrize("name", TUNERS.names())
class TestEveryTuner:
    def test_fit_predict_save_load(self, name, tiny_backbone, tmp_path):
        x, given = problem(name, tiny_backbone, tmp_path / "photos")
        tuner = make(name, tiny_backbone).fit(x, given)
        p = tuner.predict_proba(x)
        assert p.shape == (len(x), 4)
        np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-5)
        assert (tuner.predict(x) == p.argmax(axis=1)).all()
        loaded = load_tuner(tuner.save(tmp_path / "m"), backbone=tiny_backbone)
        np.testing.assert_array_equal(loaded.predict_proba(x), p)
        assert loaded.class_names_ == NAMES
        assert loaded.name == PRESETS.get(name, name)
        assert loaded.history_ == tuner.history_
        assert "labelsieve predict" in (tmp_path / "m" / "README.md").read_text()

    def test_same_seed_same_result(self, name, tiny_backbone, tmp_path):
        x, given = problem(name, tiny_backbone, tmp_path)
        a, b = (make(name, tiny_backbone).fit(x, given)._tensors() for _ in range(2))
        assert a.keys() == b.keys()
        assert all(torch.equal(a[key], b[key]) for key in a)

    def test_a_fit_that_fails_leaves_the_one_before(
        self, name, tiny_backbone, tmp_path, monkeypatch
    ):
        x, given = problem(name, tiny_backbone, tmp_path)
        tuner = make(name, tiny_backbone).fit(x, given)
        before, fit = dict(vars(tuner)), type(tuner)._fit

        def fail(self, *arguments):
            fit(self, *arguments)
            raise MemoryError

        monkeypatch.setattr(type(tuner), "_fit", fail)
        tuner.set_params(class_names=("a", "b", "c", "d"))
        with pytest.raises(MemoryError):
            tuner.fit(x, given)
        assert tuner.class_names_ == NAMES
        after = vars(tuner)
        assert after.keys() == before.keys()
        assert all(after[k] is value for k, value in before.items() if k != "class_names")

    def test_constructor_stores_and_clones(self, name, tiny_backbone):
        cls = TUNERS.get(name)
        tuner = cls(backbone="somewhere")
        assert clone(tuner).get_params() == tuner.get_params()
        assert set(tuner.get_params()) == set(inspect.signature(cls).parameters)
        with pytest.raises(NotFittedError, match="call fit first"):
            tuner.predict(np.ones((1, 2)))

    def test_what_torch_is_set_to_changes_nothing(self, name, tiny_backbone, tmp_path):
        x, given = problem(name, tiny_backbone, tmp_path / "photos")
        expected = make(name, tiny_backbone).fit(x, given).predict_proba(x)
        with other_torch_defaults():
            tuner = make(name, tiny_backbone).fit(x, given)
            found = tuner.predict_proba(x)
            loaded = load_tuner(tuner.save(tmp_path / "m"), backbone=tiny_backbone)
            again = loaded.predict_proba(x)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(again, expected)

    def test_a_pickle_predicts_the_same(self, name, tiny_backbone, tmp_path):
        x, given = problem(name, tiny_backbone, tmp_path)
        tuner = make(name, tiny_backbone).fit(x, given)
        expected = tuner.predict_proba(x)
        again = pickle.loads(pickle.dumps(tuner))
        np.testing.assert_array_equal(again.predict_proba(x), expected)

    def test_unreadable_images_predict_nothing(self, name, tiny_backbone, tmp_path):
        root = write_colour_tree(tmp_path)
        (root / "red" / "red-00.png").write_bytes(b"broken")
        images = load_images(root)
        tuner = make(name, tiny_backbone).set_params(class_names=None).fit(images)
        broken = images.ids.tolist().index("red/red-00.png")
        predicted = tuner.predict(images)
        assert predicted[broken] == -1
        assert (np.delete(predicted, broken) >= 0).all()

    def test_the_backbone_is_left_as_it_was(self, name, tiny_backbone, tmp_path):
        before = {k: v.clone() for k, v in tiny_backbone.model.state_dict().items()}
        make(name, tiny_backbone).fit(*problem(name, tiny_backbone, tmp_path))
        after = tiny_backbone.model.state_dict()
        assert before.keys() == after.keys()
        assert all(torch.equal(before[k], after[k]) for k in before)
        assert not any(p.requires_grad for p in tiny_backbone.model.parameters())


def test_clones_share_a_loaded_backbone(tiny_backbone):
    tuner = CoOp(tiny_backbone, epochs=2)
    assert clone(tuner).backbone is tiny_backbone
    assert clone(tuner).get_params() == tuner.get_params()


def test_out_of_fold_probabilities_by_scikit_learn(tiny_backbone):
    x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
    tuner = ZeroShot(tiny_backbone, class_names=NAMES)
    found = cross_val_predict(tuner, x, given, cv=3, method="predict_proba")
    np.testing.assert_allclose(found, tuner.fit(x, given).predict_proba(x), atol=1e-6)


def test_a_search_over_a_grid_scores_by_accuracy(tiny_backbone):
    x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
    coop = CoOp(tiny_backbone, class_names=NAMES, epochs=3)
    found = GridSearchCV(coop, {"lr": [1e-6, 0.05]}, cv=2).fit(x, given)
    for fold, (fitted, tested) in enumerate(StratifiedKFold(2).split(x, given)):
        for k, lr in enumerate((1e-6, 0.05)):
            predicted = (
                clone(coop).set_params(lr=lr).fit(x[fitted], given[fitted]).predict(x[tested])
            )
            expected = (predicted == given[tested]).mean()
            assert found.cv_results_[f"split{fold}_test_score"][k] == pytest.approx(expected)


def test_zero_shot_is_the_text_classifier(tiny_backbone):
    x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
    tuner = ZeroShot(tiny_backbone, class_names=NAMES, templates=("a {}", "the {}")).fit(x, given)
    expected = zero_shot_classifier(tiny_backbone, NAMES, ("a {}", "the {}"))
    assert torch.equal(tuner.classifier_.weights, expected.weights)


@pytest.mark.parametrize("loss", ["ce", "dspt"])
def test_coop_equals_a_textbook_loop(tiny_backbone, loss):
    """77-token style prompts as text, plain autograd, plain SGD, one batch an epoch."""
    x, given, _ = clustered_features(16, width=tiny_backbone.embed_dim)
    tuner = CoOp(
        tiny_backbone, class_names=NAMES, loss=loss, epochs=4, batch_size=16, lr=0.05,
        initial_text="a photo of a",
    ).fit(x, given)  # fmt: skip
    backbone: AbstractBackbone = tiny_backbone
    tokens = backbone.tokenize([f"a photo of a {name}." for name in NAMES])
    embedded = backbone.embed_tokens(tokens.ids).clone()
    m = tuner.context_.shape[0]
    context = embedded[0, 1 : 1 + m].clone().requires_grad_()
    velocity = torch.zeros_like(context)
    plan = default_plan(16, backbone.logit_scale, few_shot=False)
    for epoch in range(4):
        full = torch.cat([embedded[:, :1], context.expand(4, -1, -1), embedded[:, 1 + m :]], dim=1)
        text = backbone.encode_embeddings(full, tokens.end)
        logits = backbone.logit_scale * torch.as_tensor(x) @ text.T
        value = make_loss(loss)(logits, torch.as_tensor(given)).mean()
        (gradient,) = torch.autograd.grad(value, context)
        velocity = 0.9 * velocity + gradient + plan.weight_decay * context.detach()
        rate = 1e-5 if epoch == 0 else 0.05 * 0.5 * (1 + np.cos(np.pi * (epoch - 1) / 4))
        context = (context.detach() - rate * velocity).requires_grad_()
    torch.testing.assert_close(tuner.context_, context.detach(), atol=1e-5, rtol=1e-4)


def test_coop_learns_and_trains_only_the_context(tiny_backbone):
    x, _, true = clustered_features(width=tiny_backbone.embed_dim)
    before = {k: v.clone() for k, v in tiny_backbone.model.state_dict().items()}
    tuner = CoOp(tiny_backbone, class_names=NAMES, loss="ce", epochs=15, class_specific=True)
    tuner.fit(x, true)
    assert tuner.history_[-1]["loss"] < 0.8 * tuner.history_[0]["loss"]
    after = tiny_backbone.model.state_dict()
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert tuner.context_.shape == (4, 4, tiny_backbone.text_width)


def test_shots_limit_the_rows_and_views_need_images(tiny_backbone, tmp_path):
    x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
    tuner = CoOp(tiny_backbone, class_names=NAMES, shots=3, epochs=1).fit(x, given)
    assert tuner.history_[0]["rows"] == 12
    with pytest.raises(InputError, match="needs images to augment"):
        CoOp(tiny_backbone, class_names=NAMES, n_views=2, epochs=1).fit(x, given)
    images = load_images(write_colour_tree(tmp_path))
    assert CoOp(tiny_backbone, n_views=2, epochs=1).fit(images).history_[0]["rows"] == 42


def test_an_interrupted_fit_resumes_to_the_same_weights(tiny_backbone, tmp_path):
    x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
    whole = CoOp(tiny_backbone, class_names=NAMES, epochs=4).fit(x, given)

    class Stop(Exception):
        pass

    import labelsieve.tuners.training as training

    def stop(*args):
        raise Stop

    original = training._Run.epoch
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            training._Run,
            "epoch",
            lambda *a: stop() if a[1] == 2 else original(*a),
        )
        with pytest.raises(Stop):
            CoOp(tiny_backbone, class_names=NAMES, epochs=4).fit(x, given, checkpoint=tmp_path)
    resumed = CoOp(tiny_backbone, class_names=NAMES, epochs=4).fit(x, given, checkpoint=tmp_path)
    assert torch.equal(resumed.classifier_.weights, whole.classifier_.weights)


def test_a_checkpoint_of_other_words_is_not_resumed(tiny_backbone, tmp_path):
    images = load_images(write_colour_tree(tmp_path / "photos", per_class=4))
    reworded = replace(images, prompt_names=("cat", "dog", "frog"))
    CoOp(tiny_backbone, epochs=2).fit(images, checkpoint=tmp_path / "state")
    found = CoOp(tiny_backbone, epochs=2).fit(reworded, checkpoint=tmp_path / "state")
    fresh = CoOp(tiny_backbone, epochs=2).fit(reworded)
    assert torch.equal(found.context_, fresh.context_)


def test_numbers_of_numpy_are_saved_as_numbers(tiny_backbone, tmp_path):
    x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
    lr, seed = np.float32(0.5), np.arange(4)[3]
    tuner = CoOp(tiny_backbone, class_names=NAMES, shots=np.int64(2), epochs=1, lr=lr)
    tuner.set_params(random_state=seed).fit(x, given).save(tmp_path)
    loaded = load_tuner(tmp_path, backbone=tiny_backbone).get_params()
    assert [loaded[name] for name in ("shots", "lr", "random_state")] == [2, 0.5, 3]


@pytest.mark.parametrize("name", ["coop", "fft"])
def test_images_take_an_array_of_labels_and_keep_their_names(name, tiny_backbone, tmp_path):
    images = load_images(write_colour_tree(tmp_path, per_class=4))
    labels = (images.given_labels + 1) % 3
    tuner = TUNERS.get(name)(tiny_backbone, epochs=2)
    moved = clone(tuner).fit(images, labels)
    assert moved.class_names_ == images.class_names
    same = clone(tuner).fit(images.with_labels(labels))
    np.testing.assert_array_equal(moved.predict_proba(images), same.predict_proba(images))
    for_three = clone(tuner).set_params(class_names=("x", "y", "z")).fit(images, labels)
    assert for_three.class_names_ == ("x", "y", "z")
    with pytest.raises(InputError, match=r"expected shape|rows, but"):
        tuner.fit(images, labels[:5])


@pytest.mark.parametrize("name", ["coop", "fft"])
def test_names_of_the_images_in_another_order_are_refused(name, tiny_backbone, tmp_path):
    images = load_images(write_colour_tree(tmp_path, per_class=4))
    assert images.class_names == ("blue", "green", "red")
    tuner = TUNERS.get(name)(tiny_backbone, class_names=["red", "green", "blue"], epochs=1)
    with pytest.raises(InputError, match="leave class_names out"):
        tuner.fit(images)


def test_default_plan():
    assert default_plan(160, 100.0, few_shot=True).epochs == 50
    assert default_plan(160, 100.0, few_shot=True).lr == pytest.approx(0.002)
    assert default_plan(160, 50.0, few_shot=True).lr == pytest.approx(0.008)
    assert [default_plan(n, 100.0, few_shot=False).epochs for n in (640, 12_800, 10**6)] == [
        20,
        7,
        3,
    ]


def test_long_names_are_cut_to_fit_and_stay_distinct(tiny_backbone, caplog):
    long = "very " * 60
    words = words_that_fit(tiny_backbone, ["cat", long + "a", long + "b"])
    assert words[0] == "cat"
    assert len(set(words)) == 3
    assert "too long for prompts" in caplog.text
    x, given, _ = clustered_features(30, 3, width=tiny_backbone.embed_dim)
    ZeroShot(tiny_backbone, class_names=("cat", long + "a", "x" * 300)).fit(x, given)


def test_a_class_name_of_which_the_tokenizer_knows_nothing_is_told(tiny_backbone, caplog):
    assert words_that_fit(tiny_backbone, ["cat", "<|endoftext|>"]) == ("cat", "<|endoftext|>")
    assert [record.args[1] for record in caplog.records] == ["<|endoftext|>"]
    assert "cannot read the class name '<|endoftext|>'" in caplog.text


def test_loading_something_else_is_said(tmp_path):
    with pytest.raises(InputError, match="holds no saved classifier"):
        load_tuner(tmp_path)
    (tmp_path / "config.json").write_text('{"format": 99}')
    with pytest.raises(InputError, match="format 1"):
        load_tuner(tmp_path)
