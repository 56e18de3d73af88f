"""DeFT's detector: its judgement, its training and what it leaves behind."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from labelsieve.backbones import load_backbone
from labelsieve.bench.demo import write_digits
from labelsieve.core.exceptions import InputError
from labelsieve.data import inject_noise, load_images
from labelsieve.detectors.dual_prompt_training import LONGEST_GRADIENT, DualPromptTuning
from labelsieve.detectors.dual_prompts import DualPrompts
from labelsieve.tuners import load_tuner
from labelsieve.visual_tuning import VISUAL_TUNINGS
from problems import clustered_features, write_colour_tree


@pytest.mark.parametrize("seed", [0, 1])
def test_wrong_labels_do_not_make_all_classes_alike(seed, tmp_path):
    """At the model's own scale both seeds end with two or three of ten classes."""
    images = load_images(write_digits(tmp_path, seed)[0])
    truth = images.given_labels
    noisy = inject_noise(truth, 10, kind="symmetric", rate=0.3, random_state=seed).labels
    found = DualPrompts("mini-glyph", epochs=4, random_state=seed).fit(images.with_labels(noisy))
    assert (found.probabilities_.argmax(axis=1) == truth).mean() > 0.7
    text = found.classifier_.classifier_.weights
    assert (text @ text.T).mean() < 0.6
    assert found.history_[-1]["loss"] < found.history_[1]["loss"]


def test_names_longer_than_the_context_are_cut_and_classes_may_be_small_or_unseen(caplog, capsys):
    """`mini-glyph` has 32 tokens, of which the negative context takes 16."""
    x, given, _ = clustered_features(30, 3, width=load_backbone("mini-glyph").embed_dim)
    given = np.where(given == 2, 1, given)
    given[0] = 3  # a class of one image; class 2 has none
    names = ("cat", "very " * 60 + "a", "very " * 60 + "b", "x" * 300)
    found = DualPrompts("mini-glyph", class_names=names, epochs=2).fit(x, given)
    assert caplog.text.count("too long for prompts") == 3
    assert "indexing errors" not in caplog.text + capsys.readouterr().err
    for values in (found.label_score_, found.p_clean_, found.probabilities_):
        assert np.isfinite(values).all()
        assert values.min() >= 0
        assert values.max() <= 1


def judged(detector, positive, negative):
    """The judgement of logits of two classes where class 0 is given."""
    labels = np.zeros(len(positive), dtype=np.int64)
    return detector._judge(lambda rows: (positive[rows], negative[rows]), labels, 2, None)


def test_a_tie_is_not_selected_and_scores_keep_their_order_in_the_tails():
    positive = torch.tensor([[1.0, 0.0], [90.0, 0.0], [80.0, 0.0], [0.0, 3.0]])
    negative = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 0.0], [2.0, 0.0]])
    detector = DualPrompts()
    found = judged(detector, positive, negative)
    assert found.is_label_issue.tolist() == [True, False, False, True]
    assert found.label_score[0] == 0.5
    assert found.label_score[1] > found.label_score[2] > 0.9
    assert detector.raw_p_clean_[3] == pytest.approx(1 / (1 + math.exp(2)))
    assert found.fits_no_class.tolist() == [True, False, False, False]


def test_agreement_also_asks_for_the_largest_clean_probability():
    positive = torch.tensor([[1.0, 3.0], [3.0, 1.0]])
    negative = torch.zeros(2, 2)
    assert not judged(DualPrompts(), positive, negative).is_label_issue.any()
    found = judged(DualPrompts(agreement=True), positive, negative)
    assert found.is_label_issue.tolist() == [True, False]


@pytest.fixture(scope="module")
def colours(tmp_path_factory):
    return load_images(write_colour_tree(tmp_path_factory.mktemp("colours"), per_class=8))


@pytest.mark.parametrize("name", [n for n in VISUAL_TUNINGS.names() if n != "none"])
def test_every_visual_tuning_trains_saves_and_leaves_the_encoder_alone(
    name, colours, tiny_backbone, tmp_path
):
    before = {k: v.clone() for k, v in tiny_backbone.model.state_dict().items()}
    found = DualPrompts(tiny_backbone, visual_tuning=name, epochs=2, batch_size=8, lr=0.01).fit(
        colours
    )
    after = tiny_backbone.model.state_dict()
    assert after.keys() == before.keys()
    assert all(torch.equal(after[k], before[k]) for k in before)
    p = found.classifier_.predict_proba(colours)
    np.testing.assert_allclose(p, found.probabilities_, atol=1e-5)
    loaded = load_tuner(found.classifier_.save(tmp_path / "model"), backbone=tiny_backbone)
    np.testing.assert_array_equal(loaded.predict_proba(colours), p)
    with pytest.raises(InputError, match="pass images"):
        loaded.predict_proba(np.zeros((2, tiny_backbone.embed_dim), dtype=np.float32))


def test_bad_parameters_are_told(tiny_backbone, caplog):
    x, given, _ = clustered_features(width=tiny_backbone.embed_dim)

    def detector(**params):
        names = ("red", "green", "blue", "yellow")
        return DualPrompts(tiny_backbone, class_names=names, **params)

    for params, message in (
        ({"epochs": 0}, "epochs must be an integer in 1..inf, not 0"),
        ({"warmup_epochs": -1}, "warmup_epochs must be an integer of at least 0, not -1"),
        ({"initial_text": 5}, "initial_text=5 holds no token"),
        ({"momentum": "x"}, "momentum must be a finite number of at least 0, not 'x'"),
    ):
        with pytest.raises(InputError, match=message):
            detector(**params).fit(x, given)
    detector(epochs=2).fit(x, given)
    assert not caplog.text
    detector(epochs=2, warmup_epochs=2).fit(x, given)
    assert "every epoch is warm-up (epochs=2, warmup_epochs=2)" in caplog.text


def test_visual_tuning_needs_images(tiny_backbone):
    x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
    detector = DualPrompts(tiny_backbone, class_names=("a", "b", "c", "d"), visual_tuning="lora")
    with pytest.raises(InputError, match="needs images"):
        detector.fit(x, given)


PEFT = {"method_params": {"lora_dropout": 0.5}}


@pytest.mark.parametrize(
    ("name", "params"), [*((name, None) for name in VISUAL_TUNINGS.names()), ("lora", PEFT)]
)
def test_the_seed_decides_every_bit_also_after_an_interruption(
    name, params, colours, tiny_backbone, tmp_path, monkeypatch
):
    """Stopped in the middle of the second of three epochs; whatever the global state is."""

    def detector():
        options = {"visual_tuning": name, "visual_tuning_params": params, "warmup_epochs": 1}
        return DualPrompts(tiny_backbone, epochs=3, batch_size=8, lr=0.01, **options)

    first = detector().fit(colours)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(5)
        second = detector().fit(colours)
    steps, original = [], DualPromptTuning.step

    def stop_in_the_second_epoch(module, rows, epoch, generator):
        steps.append(epoch)
        if steps.count(1) == 2:
            raise KeyboardInterrupt
        return original(module, rows, epoch, generator)

    monkeypatch.setattr(DualPromptTuning, "step", stop_in_the_second_epoch)
    with pytest.raises(KeyboardInterrupt):
        detector().fit(colours, checkpoint=tmp_path)
    assert steps == [0, 0, 0, 1, 1]
    monkeypatch.setattr(DualPromptTuning, "step", original)
    resumed = detector().fit(colours, checkpoint=tmp_path)
    for again in (second, resumed):
        for attribute in ("p_clean_", "raw_p_clean_", "largest_margin_", "probabilities_"):
            np.testing.assert_array_equal(getattr(again, attribute), getattr(first, attribute))
    other = detector().set_params(random_state=1).fit(colours)
    assert (other.raw_p_clean_ != first.raw_p_clean_).any()


def test_an_image_that_is_gone_after_the_training_is_not_judged(
    tiny_backbone, tmp_path, monkeypatch
):
    images = load_images(write_colour_tree(tmp_path, per_class=8))
    final_logits = DualPrompts._final_logits

    path = tmp_path / images.ids[3]

    def gone(*arguments):
        path.unlink()
        return final_logits(*arguments)

    monkeypatch.setattr(DualPrompts, "_final_logits", gone)
    found = DualPrompts(tiny_backbone, visual_tuning="lora", epochs=2, batch_size=8).fit(images)
    row = found.issues_.table.iloc[3]
    assert (row["action"], row["is_label_issue"], row["error"]) == (
        "unreadable", False, f"file not found: {path}",
    )  # fmt: skip
    for values in (found.label_score_, found.p_clean_, found.probabilities_[:, 0]):
        assert np.flatnonzero(np.isnan(values)).tolist() == [3]
    assert (found.issues_.table["action"] == "unreadable").sum() == 1


def test_a_checkpoint_of_other_words_is_not_resumed(colours, tiny_backbone, tmp_path, caplog):
    options = {"epochs": 2, "batch_size": 8}
    DualPrompts(tiny_backbone, **options).fit(colours, checkpoint=tmp_path)
    words = replace(colours, prompt_names=("cat", "dog", "car"))
    found = DualPrompts(tiny_backbone, **options).fit(words, checkpoint=tmp_path)
    assert "it is of another run" in caplog.text
    expected = DualPrompts(tiny_backbone, **options).fit(words)
    np.testing.assert_array_equal(found.raw_p_clean_, expected.raw_p_clean_)


def test_the_saved_classifier_says_how_it_was_trained(colours, tiny_backbone, tmp_path):
    options = {"epochs": 2, "batch_size": 8, "lr": 0.01, "momentum": 0.5, "weight_decay": 0.0}
    found = DualPrompts(tiny_backbone, precision="bfloat16", **options).fit(colours)
    loaded = load_tuner(found.classifier_.save(tmp_path / "model"), backbone=tiny_backbone)
    expected = options | {"precision": "bfloat16", "warmup_epochs": 0}
    assert {name: getattr(loaded, name) for name in expected} == expected
    assert "- lr: 0.01\n" in (tmp_path / "model" / "README.md").read_text()


def test_dropout_ends_with_the_training(colours, tiny_backbone, tmp_path):
    options = {"visual_tuning": "lora", "visual_tuning_params": PEFT, "epochs": 1, "lr": 0.01}
    found = DualPrompts(tiny_backbone, **options).fit(colours)
    p = found.classifier_.predict_proba(colours)
    np.testing.assert_allclose(p, found.probabilities_, atol=1e-5)
    loaded = load_tuner(found.classifier_.save(tmp_path / "model"), backbone=tiny_backbone)
    for _ in range(2):
        np.testing.assert_array_equal(loaded.predict_proba(colours), p)


def test_the_mask_of_the_last_epoch_is_the_one_of_its_steps(tiny_backbone):
    x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
    names = ("red", "green", "blue", "yellow")
    options = {"class_names": names, "epochs": 2}
    last = DualPrompts(tiny_backbone, mask="last-epoch", **options).fit(x, given)
    final = DualPrompts(tiny_backbone, **options).fit(x, given)
    np.testing.assert_array_equal(last.largest_margin_, final.largest_margin_)
    assert (last.label_score_ != final.label_score_).any()
    # a learning rate of 0 leaves nothing that could differ between the two
    frozen = [
        DualPrompts(tiny_backbone, mask=mask, lr=0.0, **options).fit(x, given).label_score_
        for mask in ("last-epoch", "final")
    ]
    np.testing.assert_allclose(*frozen, atol=1e-5)
    with pytest.raises(
        InputError, match="mask='best' is not known; choose one of final, last-epoch"
    ):
        DualPrompts(tiny_backbone, mask="best", **options).fit(x, given)


def test_the_mask_of_the_last_epoch_agrees_by_its_steps_too(tiny_backbone, monkeypatch):
    x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
    clean, step = np.zeros(len(x), dtype=bool), DualPromptTuning.step

    def watched(module, rows, *rest):
        with torch.no_grad():
            positive, negative = module.logits_of(module.images(rows, *rest[1:]))
        margin, labels = positive - negative, module.labels[rows]
        above = margin.gather(1, labels[:, None])[:, 0] > 0
        clean[rows] = (above & (margin.argmax(dim=1) == labels)).numpy()
        return step(module, rows, *rest)

    monkeypatch.setattr(DualPromptTuning, "step", watched)
    options = {"epochs": 2, "batch_size": 20, "lr": 0.3, "agreement": True}
    options["class_names"] = ("red", "green", "blue", "yellow")
    last = DualPrompts(tiny_backbone, mask="last-epoch", **options).fit(x, given)
    np.testing.assert_array_equal(last.is_label_issue_, ~clean)
    final = DualPrompts(tiny_backbone, **options).fit(x, given)
    assert (final.is_label_issue_ != last.is_label_issue_).any()


def test_a_second_fit_leaves_no_scorer_of_the_first(tiny_backbone):
    x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
    detector = DualPrompts(tiny_backbone, class_names=("a", "b", "c", "d"), epochs=2).fit(x, given)
    assert detector.score_features(x, given).label_score.shape == given.shape
    detector.set_params(mask="last-epoch").fit(x, given)
    with pytest.raises(InputError, match="judges only the rows that it is fitted to"):
        detector.score_features(x, given)


def test_images_of_no_class_are_dropped_and_get_no_suggestion(tiny_backbone):
    x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
    names = ("red", "green", "blue", "yellow")
    found = DualPrompts(tiny_backbone, class_names=names, epochs=2).fit(x, given)
    homeless = found.largest_margin_ <= 0
    table = found.issues_.table
    np.testing.assert_array_equal(found.fits_no_class_, homeless)
    assert ((table["action"] == "drop").to_numpy() == homeless).all()
    assert table["suggested_label"].isna()[homeless].all()
    assert (found.suggested_label_[homeless] == -1).all()


def test_a_step_of_the_positive_context_is_short(tiny_backbone):
    """One batch, no momentum yet, no decay: lr times the longest gradient."""
    x, given, _ = clustered_features(width=tiny_backbone.embed_dim)
    options = {"epochs": 1, "batch_size": len(x), "lr": 0.5, "weight_decay": 0.0}
    names = ("red", "green", "blue", "yellow")
    moved = DualPrompts(tiny_backbone, class_names=names, **options).fit(x, given)
    still = DualPrompts(tiny_backbone, class_names=names, **options | {"lr": 0.0}).fit(x, given)
    step = moved.classifier_.context_ - still.classifier_.context_
    assert 0 < step.norm().item() <= 0.5 * LONGEST_GRADIENT + 1e-6
