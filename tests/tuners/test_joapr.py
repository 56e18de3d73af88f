"""JoAPR: what it trains on in the cases that can be told beforehand."""

import numpy as np
import pytest
import torch

from labelsieve.core.exceptions import InputError
from labelsieve.tuners.coop import CoOp
from labelsieve.tuners.joapr import JoAPR
from problems import clustered_features

NAMES = ("red", "green", "blue", "yellow")


def test_rows_that_look_alike_train_as_coop(tiny_backbone):
    """Equal losses: all clean, so without mixup it is cross-entropy on the given labels."""
    x = np.ones((12, tiny_backbone.embed_dim), dtype=np.float32)
    y = np.zeros(12, dtype=int)
    common = {"class_names": NAMES, "epochs": 3, "lr": 0.002}
    found = JoAPR(tiny_backbone, mixup_alpha=0, **common).fit(x, y)
    assert found.n_clean_ == [12, 12, 12]
    expected = CoOp(tiny_backbone, loss="ce", **common).fit(x, y)
    torch.testing.assert_close(found.context_, expected.context_, atol=1e-6, rtol=0)


def test_wrong_labels_of_perfect_features_are_found_and_refurbished(tiny_backbone):
    names = ("red", "yellow")  # far apart for the tiny model
    text = tiny_backbone.encode_texts([f"a photo of a {name}." for name in names]).numpy()
    true = np.arange(80) % 2
    x, given = text[true], true.copy()
    given[:20] = 1 - true[:20]
    tuner = JoAPR(tiny_backbone, class_names=names, epochs=4).fit(x, given)
    assert set(tuner.n_clean_) == {60}
    assert (tuner.predict(x) == true).all()


def test_few_rows_and_bad_parameters(tiny_backbone):
    for n in (1, 3):
        x, given, _ = clustered_features(n, 4, width=tiny_backbone.embed_dim)
        JoAPR(tiny_backbone, class_names=NAMES, epochs=2).fit(x, given)
    with pytest.raises(InputError, match=r"(?s)2 problems.*agreement.*mixup_alpha"):
        JoAPR(tiny_backbone, class_names=NAMES, agreement=2, mixup_alpha=-1).fit(x, given)
