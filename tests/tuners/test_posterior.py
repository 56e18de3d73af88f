"""Posterior targets: what is fitted, and that wrong labels cost less than with given labels."""

import numpy as np
import pytest
import torch

from labelsieve.core.exceptions import InputError
from labelsieve.prompts import zero_shot_classifier
from labelsieve.selection.latent_labels import fit_latent_labels
from labelsieve.tuners.classifier import classifier_c
from labelsieve.tuners.posterior import PosteriorClassifier
from problems import clustered_features

NAMES = ("red", "green", "blue", "yellow")


@pytest.fixture
def problem(tiny_backbone):
    """Features in clusters, given labels of which a quarter is wrong, and the truth."""
    return clustered_features(n=240, width=tiny_backbone.embed_dim)


def test_targets_are_the_posterior_of_the_latent_label_model(tiny_backbone, problem):
    x, given, true = problem
    tuner = PosteriorClassifier(tiny_backbone, class_names=NAMES, n_repeats=2, epochs=1)
    tuner.fit(x, given)
    logits = zero_shot_classifier(tiny_backbone, NAMES).logits(torch.as_tensor(x)).numpy()
    found = fit_latent_labels(x, given, logits, n_repeats=2, random_state=0)
    np.testing.assert_allclose(tuner.posterior_, found.posterior, atol=1e-4)
    assert (tuner.posterior_.argmax(axis=1) == true).mean() > (given == true).mean() + 0.2
    assert tuner.noise_matrix_.shape == (4, 4)


def test_the_loss_is_the_cross_entropy_to_the_targets(tiny_backbone, problem):
    x, given, _ = problem
    tuner = PosteriorClassifier(tiny_backbone, class_names=NAMES, n_repeats=1, epochs=1, lr=0.0)
    tuner.set_params(warmup_epochs=0).fit(x, given)
    start = zero_shot_classifier(tiny_backbone, NAMES)
    torch.testing.assert_close(tuner.classifier_.weights, start.weights)
    logits = start.logits(torch.as_tensor(x)).double().numpy()
    log_p = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
    expected = -(tuner.posterior_ * log_p).sum(axis=1).mean()
    assert tuner.history_[0]["loss"] == pytest.approx(expected, rel=1e-4)


def test_better_than_the_same_head_on_given_labels(tiny_backbone, problem):
    x, given, true = problem
    plan = {"class_names": NAMES, "epochs": 30, "lr": 0.002}
    ours = PosteriorClassifier(tiny_backbone, **plan).fit(x, given)
    theirs = classifier_c(tiny_backbone, **plan).fit(x, given)
    assert (ours.predict(x) == true).mean() > (theirs.predict(x) == true).mean() + 0.05


def test_one_class_is_not_enough(tiny_backbone, problem):
    x = problem[0]
    with pytest.raises(InputError, match="at least two classes"):
        PosteriorClassifier(tiny_backbone, class_names=NAMES).fit(x, np.zeros(240, dtype=int))
