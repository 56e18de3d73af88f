"""Estimators by name: what no data can make usable is told before any is read."""

import numpy as np
import pytest

from labelsieve.core.exceptions import InputError
from labelsieve.detectors import DETECTORS
from labelsieve.sieve.build import build_estimator
from labelsieve.tuners import TUNERS


@pytest.mark.parametrize(
    ("registry", "name", "params", "message"),
    [
        (DETECTORS, "dual-prompts", {"mask": "lats"}, "choose one of final, last-epoch"),
        (DETECTORS, "dual-prompts", {"warmup_loss": "cee"}, "unknown loss 'cee'"),
        (DETECTORS, "dual-prompts", {"lr": "fast"}, "lr must be a finite number"),
        (DETECTORS, "dual-prompts", {"precision": "auto"}, "precision must be one of float32"),
        (DETECTORS, "dual-prompts", {"random_state": -1}, "random_state must be an integer in 0"),
        (TUNERS, "coop", {"random_state": np.random.default_rng(0)}, "random_state must be an int"),
        (DETECTORS, "dual-prompts", {"initial_text": 5}, "initial_text=5 holds no token"),
        (DETECTORS, "dual-prompts", {"initial_text": "none"}, "--param initial_text=null"),
        (DETECTORS, "dual-prompts", {"initial_text": None, "n_context": 0}, "n_context must be"),
        (
            DETECTORS,
            "dual-prompts",
            {"visual_tuning": "vpt-deep", "visual_tuning_params": {"n_prompts": 0}},
            "n_prompts must be an integer in 1..inf, not 0",
        ),
        (
            TUNERS,
            "fft",
            {"visual_tuning": "lora", "visual_tuning_params": {"method": "lara"}},
            "unknown method 'lara'",
        ),
        (DETECTORS, "latent-label", {"n_folds": 1}, "n_folds must be an integer in 2..inf, not 1"),
        (DETECTORS, "knn", {"k": 0}, "k must be an integer in 1..inf, not 0"),
        (DETECTORS, "confident-learning", {"n_folds": 1}, "n_folds must be an integer in 2..inf"),
        (DETECTORS, "label-match", {"templates": "ensembel"}, "templates='ensembel' is not known"),
        (DETECTORS, "small-loss", {"shots": 0}, "shots must be an integer in 1..inf, not 0"),
        (DETECTORS, "small-loss", {"noise_rate": 2}, "noise_rate must be a number in 0..1, not 2"),
        (DETECTORS, "small-loss", {"loss": "dpst"}, "Did you mean 'dspt'"),
        (TUNERS, "coop", {"loss": "gce", "loss_params": {"r": 1}}, "loss 'gce'"),
        (TUNERS, "coop", {"loss": "gce", "loss_params": {"q": 5}}, "q must be a number in"),
        (TUNERS, "coop", {"loss": "gce", "loss_params": 0.5}, "such as {q: 0.5}, not 0.5"),
        (TUNERS, "coop", {"loss": "gce", "loss_params": {1: 2}}, "such as {q: 0.5}, not {1: 2}"),
        (TUNERS, "coop", {"loss": "sce", "loss_params": {"beta": "x"}}, "beta must be a number"),
        (TUNERS, "coop", {"loss": "nce_rce", "loss_params": {"alpha": -1}}, "alpha must be a num"),
        (TUNERS, "coop", {"loss": ["ce"]}, "unknown loss ['ce']; choose one of ce"),
        (TUNERS, "zero-shot", {"templates": 3}, "each template needs '{}' once"),
        (TUNERS, "zero-shot", {"templates": ["a {}.", 2]}, "got [2]"),
        (TUNERS, "zero-shot", {"templates": None}, "each template needs '{}' once"),
        (TUNERS, "coop", {"position": "start"}, "choose one of end, middle, front"),
        (TUNERS, "coop", {"class_tokens": "none"}, "choose one of names, random, shuffled"),
        (TUNERS, "nlprompt", {"n_context": 0}, "n_context must be an integer in 1..inf, not 0"),
        (TUNERS, "posterior", {"n_folds": 1}, "n_folds must be an integer in 2..inf, not 1"),
        (TUNERS, "posterior", {"n_repeats": 0}, "n_repeats must be an integer in 1..inf, not 0"),
        (TUNERS, "coop", {"epochs": -1}, "epochs must be an integer of at least 0, not -1"),
        (TUNERS, "coop", {"n_views": 0}, "n_views must be an integer in 1..inf, not 0"),
        (TUNERS, "classifier-r", {"initial": "tex"}, "choose one of random, text"),
        (TUNERS, "tip-adapter", {"alpha": -1}, "alpha must be a number in 0..inf, not -1"),
        (TUNERS, "robust-upl", {"n_members": 0}, "n_members must be an integer in 1..inf"),
        (TUNERS, "nlprompt", {"cost": "x"}, "cost must be one of"),
        (TUNERS, "joapr", {"agreement": 2}, "agreement must be a number in 0..1"),
        (TUNERS, "fft", {"baseline": "small-loss"}, "needs noise_rate"),
        (TUNERS, "fft", {"precision": "half"}, "unknown precision 'half'; choose one of auto"),
    ],
    ids=str,
)
def test_what_no_data_can_make_usable_is_told_first(registry, name, params, message):
    with pytest.raises(InputError) as caught:
        build_estimator(registry, name, params, random_state=0)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("name", "params"),
    [
        ("nlprompt", {"reg": np.float32(0.1), "begin_budget": np.float64(1)}),
        ("nlprompt", {"curriculum_epochs": np.int64(2)}),
        ("joapr", {"agreement": np.float32(0.5), "mixup_alpha": np.int64(0)}),
    ],
)
def test_numbers_of_numpy_are_numbers(name, params):
    """As a search over a grid made with numpy gives them."""
    assert build_estimator(TUNERS, name, params, 0).get_params().items() >= params.items()


@pytest.mark.parametrize("params", [3, ["k"], {1: 2}])
def test_parameters_that_are_no_mapping(params):
    with pytest.raises(InputError, match="detector 'knn' must be a mapping from names to values"):
        build_estimator(DETECTORS, "knn", params, 0)
