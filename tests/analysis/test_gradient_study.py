"""Gradients over training: group figures, the training itself, the folder; truth stays outside."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from analysis_problem import load, write_table
from PIL import Image

from labelsieve.analysis.coop import coop
from labelsieve.analysis.gradient_records import compare_groups, group_records, sample_records
from labelsieve.analysis.gradient_study import KEYS, analyze_gradients, watch
from labelsieve.analysis.noisy_rows import draw_given, draw_noisy, labels_in_order
from labelsieve.analysis.sample_gradients import forward_pass, sample_gradients
from labelsieve.core.exceptions import InputError
from labelsieve.losses import make_loss
from labelsieve.prompts import PromptLearner
from labelsieve.tuners.inputs import fit_data
from problems import clustered_features


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("data"))


def test_group_figures_equal_their_definitions(tiny_backbone):
    x, given, true = clustered_features(60, width=tiny_backbone.embed_dim)
    learner = PromptLearner(tiny_backbone, ("cat", "dog", "car", "frog"), n_context=2)
    labels, is_wrong = torch.as_tensor(given), given != true
    found = forward_pass(tiny_backbone, learner, torch.as_tensor(x), labels, make_loss("ce"))
    samples = sample_records(found, labels, is_wrong)
    groups = {r["group"]: r for r in group_records(found, samples, is_wrong)}
    g = torch.cat([part for _, part in sample_gradients(found)]).numpy()
    total = g.sum(0)
    cosine = g @ total / np.linalg.norm(g, axis=1) / np.linalg.norm(total)
    np.testing.assert_allclose(samples["cosine"], cosine, atol=1e-5)
    for name, rows in (("clean", ~is_wrong), ("noisy", is_wrong)):
        of_group = groups[name]
        summed, norms = g[rows].sum(0), np.linalg.norm(g[rows], axis=1)
        assert of_group["n"] == rows.sum()
        assert of_group["sum_norm"] == pytest.approx(np.linalg.norm(summed), rel=1e-4)
        assert of_group["mean_norm"] == pytest.approx(norms.mean(), rel=1e-4)
        assert of_group["coherence"] == pytest.approx(
            np.linalg.norm(summed) / norms.sum(), rel=1e-4
        )
        assert of_group["share"] == pytest.approx(summed @ total / (total @ total), rel=1e-3)
        assert of_group["mean_cosine"] == pytest.approx(cosine[rows].mean(), abs=1e-5)
        assert of_group["fitted"] == samples["fitted"][rows].mean()
    assert groups["clean"]["share"] + groups["noisy"]["share"] == pytest.approx(1, abs=1e-5)
    compared = compare_groups(pd.DataFrame(groups.values()).assign(epoch=0), ["epoch"]).iloc[0]
    assert compared["noise_rate"] == 0.25
    assert compared["sum_ratio"] == groups["clean"]["sum_norm"] / groups["noisy"]["sum_norm"]
    assert compared["suppression"] == groups["noisy"]["mean_norm"] / groups["clean"]["mean_norm"]


def test_an_empty_group_has_no_figures(tiny_backbone):
    x, _, true = clustered_features(20, width=tiny_backbone.embed_dim)
    learner = PromptLearner(tiny_backbone, ("cat", "dog", "car", "frog"), n_context=2)
    labels, none = torch.as_tensor(true), np.zeros(20, bool)
    found = forward_pass(tiny_backbone, learner, torch.as_tensor(x), labels, make_loss("ce"))
    samples = sample_records(found, labels, none)
    groups = pd.DataFrame(group_records(found, samples, none))
    compared = compare_groups(groups.assign(epoch=0), ["epoch"]).iloc[0]
    assert groups["share"].tolist() == [pytest.approx(1.0), 0.0]
    assert compared[["sum_ratio", "suppression", "noisy_coherence"]].isna().all()


def test_watching_changes_nothing_and_truth_does_not_reach_the_tuner(table, tiny_backbone):
    data = fit_data(load(table), None, tiny_backbone, None)
    options = {"epochs": 3, "lr": 0.05}
    plain = coop("dspt", "tuned", options, shots=8, seed=4).fit_usable(data, tiny_backbone)
    learned = []
    for is_wrong in (np.arange(24) % 3 == 0, np.zeros(24, bool)):
        tuner = coop("dspt", "tuned", options, shots=8, seed=4)
        training = tuner.training
        kept = []

        def keep(*args, kept=kept, training=training):
            kept.append(training(*args))
            return kept[0]

        tuner.training = keep
        samples, groups = watch(tuner, data, is_wrong, tiny_backbone)
        learned.append(kept[0][1].learner)
        assert sorted(groups["epoch"].unique()) == [0, 1, 2, 3]
        assert len(samples) == 4 * 24
    for learner in learned:
        assert torch.equal(learner.context.detach(), plain.context_)
        assert torch.equal(learner.name_tokens.detach(), plain.name_tokens_)


def test_the_first_measurement_is_of_the_untrained_prompt(table, tiny_backbone):
    data = fit_data(load(table), None, tiny_backbone, None)
    tuner = coop("ce", "names", {"epochs": 1}, shots=8, seed=0)
    samples, _ = watch(tuner, data, np.zeros(24, bool), tiny_backbone)
    learner = PromptLearner(tiny_backbone, data.prompt_names, initial_text="a photo of a")
    labels = torch.as_tensor(data.labels)
    found = forward_pass(
        tiny_backbone, learner, torch.as_tensor(data.features), labels, make_loss("ce")
    )
    first = samples[samples["epoch"] == 0]["loss_value"].to_numpy()
    np.testing.assert_allclose(first, found.losses.numpy(), rtol=1e-5)


def test_draws(table):
    images, truth = load(table), load(table, "truth")
    drawn = draw_noisy(truth, shots=6, kind="symmetric", rate=0.5, seed=0)
    assert len(drawn.rows) == 18
    assert drawn.is_wrong.sum() == 9
    np.testing.assert_array_equal(drawn.given != truth.given_labels[drawn.rows], drawn.is_wrong)
    true = labels_in_order(truth, images.class_names)
    given = draw_given(images.given_labels, true, shots=None, seed=0)
    assert given.is_wrong.sum() == 6
    assert np.bincount(given.given).tolist() == [8, 8, 8]
    true[:5] = -1
    assert 0 not in draw_given(images.given_labels, true, shots=None, seed=0).rows
    with pytest.raises(InputError, match="classes are not among those of the given labels"):
        labels_in_order(truth, ("red", "green"))


def test_labels_are_matched_by_name(table):
    truth = load(table, "truth")
    turned = tuple(reversed(truth.class_names))
    mapped = labels_in_order(truth, turned)
    names = [turned[k] for k in mapped]
    assert names == [truth.class_names[k] for k in truth.given_labels]


@pytest.fixture(scope="module")
def written(table, tiny_backbone, tmp_path_factory):
    out = tmp_path_factory.mktemp("gradients") / "out"
    analyze_gradients(
        load(table),
        out,
        truth=load(table, "truth"),
        model=tiny_backbone,
        class_tokens=("names", "random"),
        epochs=2,
        seeds=2,
        command="labelsieve analyze gradients",
    )
    return out


def test_the_folder_holds_data_figures_and_page(written):
    groups = pd.read_parquet(written / "data.parquet")
    samples = pd.read_parquet(written / "samples.parquet")
    assert len(groups) == 2 * 2 * 2 * 3 * 2  # seeds, losses, tokens, measurements, groups
    assert len(samples) == 2 * 2 * 2 * 3 * 24
    assert set(samples["row"]) == set(range(24))
    noisy = groups[groups["group"] == "noisy"]
    assert (noisy["n"] == 6).all()
    by_row = samples.groupby("row")["group"].unique().map(list)
    assert [r for r, g in by_row.items() if g == ["noisy"]] == [0, 1, 8, 9, 16, 17]
    shares = groups.groupby(KEYS)["share"].sum()
    np.testing.assert_allclose(shares, 1, atol=1e-4)
    html = (written / "index.html").read_text()
    assert "2 seeds: 0, 1" in html
    assert "25.0% of the given labels are wrong" in html
    assert "<script" not in html
    for name in ("sums", "ratios", "norms", "cosines", "coherence"):
        assert (written / f"{name}.svg").exists()
        with Image.open(written / f"{name}.png") as image:
            assert image.size[0] == 1200
    record = json.loads((written / "analysis.json").read_text())
    assert record["settings"]["epochs"] == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"losses": ("cee",)}, "unknown loss"),
        ({"class_tokens": ("nmaes",)}, "unknown class tokens 'nmaes'"),
        ({"seeds": 0}, "seeds must be an integer"),
        ({"params": {"loss": "ce"}}, "loss cannot be given as a parameter"),
        ({"params": {"nothing": 1}}, "no parameter nothing"),
        ({"noise": "none"}, "unknown noise kind"),
    ],
)
def test_bad_arguments(table, tmp_path, tiny_backbone, arguments, message):
    with pytest.raises(InputError, match=message):
        analyze_gradients(load(table), tmp_path / "o", model=tiny_backbone, **arguments)
    assert not (tmp_path / "o").exists()
