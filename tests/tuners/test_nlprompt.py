"""NLPrompt: what it trains on, and that it is CoOp where all labels are clean."""

import numpy as np
import pytest
import torch

from labelsieve.core.exceptions import InputError
from labelsieve.tuners.coop import CoOp
from labelsieve.tuners.nlprompt import NLPrompt
from problems import clustered_features

NAMES = ("red", "green", "blue", "yellow")


def perfect_problem(backbone, n=40):
    """Balanced rows whose features are the text features that the prompts start from."""
    text = backbone.encode_texts([f"a photo of a {name}." for name in NAMES]).numpy()
    labels = np.arange(n) % 4
    return text[labels], labels


@pytest.mark.parametrize("cost", ["log-probability", "double-softmax"])
def test_balanced_perfect_features_are_all_clean_and_train_as_coop(tiny_backbone, cost):
    x, y = perfect_problem(tiny_backbone)
    common = {"class_names": NAMES, "epochs": 3, "random_state": 5, "lr": 0.002}
    found = NLPrompt(tiny_backbone, cost=cost, **common).fit(x, y)
    assert found.n_clean_ == [40, 40, 40]
    expected = CoOp(tiny_backbone, loss="ce", **common).fit(x, y)
    torch.testing.assert_close(found.context_, expected.context_, atol=1e-6, rtol=0)


def test_without_a_clean_label_it_trains_as_prompt_mae(tiny_backbone):
    x, y = perfect_problem(tiny_backbone)
    wrong = (y + 1) % 4
    common = {"class_names": NAMES, "epochs": 3, "lr": 0.002}
    found = NLPrompt(tiny_backbone, **common).fit(x, wrong)
    assert found.n_clean_ == [0, 0, 0]
    expected = CoOp(tiny_backbone, loss="mae", **common).fit(x, wrong)
    torch.testing.assert_close(found.context_, expected.context_, atol=1e-6, rtol=0)


def test_an_epoch_equals_a_loop_over_rows(tiny_backbone):
    """One batch: the mean of -log p_y over clean rows and 1 - p_y over the others."""
    from labelsieve.prompts import PromptLearner, encode_prompts
    from labelsieve.selection.prompt_ot import prompt_ot

    x, given, _ = clustered_features(24, width=tiny_backbone.embed_dim)
    tuner = NLPrompt(
        tiny_backbone, class_names=NAMES, epochs=1, batch_size=24, lr=0.0, reg=0.1
    ).fit(x, given)
    learner = PromptLearner(tiny_backbone, NAMES, initial_text="a photo of a")
    text = encode_prompts(tiny_backbone, learner).detach()
    logits = tiny_backbone.logit_scale * torch.as_tensor(x) @ text.T
    clean = prompt_ot(logits, torch.as_tensor(given), reg=0.1).clean
    assert 0 < clean.sum() < 24
    total = 0.0
    for row in range(24):
        p = logits[row].softmax(dim=0)[given[row]].item()
        total += -np.log(p) if clean[row] else 1 - p
    assert tuner.history_[0]["loss"] == pytest.approx(total / 24, rel=1e-4)
    assert tuner.n_clean_ == [int(clean.sum())]


def test_the_curriculum_limits_the_clean_part(tiny_backbone):
    x, y = perfect_problem(tiny_backbone)
    tuner = NLPrompt(
        tiny_backbone, class_names=NAMES, epochs=5, begin_budget=0.4, curriculum_epochs=3
    ).fit(x, y)
    assert tuner.n_clean_[0] == 16
    assert tuner.n_clean_ == sorted(tuner.n_clean_)
    assert tuner.n_clean_[-1] == 40


@pytest.mark.parametrize("n", [1, 2, 5])
def test_few_rows(tiny_backbone, n):
    x, given, _ = clustered_features(n, 4, width=tiny_backbone.embed_dim)
    tuner = NLPrompt(tiny_backbone, class_names=NAMES, epochs=2).fit(x, given)
    assert all(record["rows"] == n for record in tuner.history_)


def test_bad_parameters_are_gathered(tiny_backbone):
    x, y = perfect_problem(tiny_backbone)
    bad = {"reg": 0, "cost": "mae", "begin_budget": 2.0, "curriculum_epochs": -1}
    with pytest.raises(InputError, match=r"(?s)4 problems.*reg.*cost.*begin_budget.*curriculum"):
        NLPrompt(tiny_backbone, class_names=NAMES, **bad).fit(x, y)
