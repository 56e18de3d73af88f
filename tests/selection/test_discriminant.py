"""The large probe: its two passes equal a discriminant that is fitted fold by fold."""

import numpy as np
import pytest
from scipy.special import softmax

from labelsieve.selection import discriminant, out_of_sample
from labelsieve.selection.discriminant import SCALES, SHRINKAGE, discriminant_probabilities
from labelsieve.selection.out_of_sample import fold_of_each_row, out_of_sample_probabilities


def problem(n=600, d=8, n_classes=4, seed=0):
    rng = np.random.default_rng(seed)
    centres = 1.2 * rng.normal(size=(n_classes, d))
    true = rng.integers(n_classes, size=n)
    x = (centres[true] + rng.normal(size=(n, d)) + 3.0).astype(np.float32)
    given = np.where(rng.random(n) < 0.2, rng.integers(n_classes, size=n), true)
    return x, given, true


def textbook(x, labels, n_classes, folds):
    """Logits by the formula, one fold after the other."""
    out = np.empty((len(x), n_classes))
    for fold in np.unique(folds):
        seen, held = x[folds != fold].astype(float), x[folds == fold].astype(float)
        y = labels[folds != fold]
        means = np.stack([seen[y == k].mean(axis=0) for k in range(n_classes)])
        within = (seen - means[y]).T @ (seen - means[y]) / len(seen)
        d = len(within)
        within = (1 - SHRINKAGE) * within + SHRINKAGE * np.trace(within) / d * np.eye(d)
        inverse = np.linalg.inv(within)
        prior = np.log(np.bincount(y, minlength=n_classes) / len(y))
        for k in range(n_classes):
            gap = held - means[k]
            out[folds == fold, k] = prior[k] - 0.5 * np.einsum("id,de,ie->i", gap, inverse, gap)
    return out


def test_equals_the_textbook_up_to_the_scale():
    x, labels, _ = problem()
    folds = fold_of_each_row(labels, 5, 0)
    found = discriminant_probabilities(x, labels, 4, folds)
    logits = textbook(x, labels, 4, folds)
    likely = [np.log(softmax(s * logits, axis=1)[np.arange(len(x)), labels]).mean() for s in SCALES]
    expected = softmax(SCALES[int(np.argmax(likely))] * logits, axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_chunks_change_nothing(monkeypatch):
    from labelsieve.core import arrays

    x, labels, _ = problem()
    folds = fold_of_each_row(labels, 3, 0)
    expected = discriminant_probabilities(x, labels, 4, folds)
    monkeypatch.setattr(discriminant, "chunks", lambda n, k: arrays.chunks(n, k, 3000))
    np.testing.assert_allclose(discriminant_probabilities(x, labels, 4, folds), expected, atol=1e-5)


def test_no_row_sees_its_own_label():
    x, labels, _ = problem(200)
    folds = fold_of_each_row(labels, 4, 0)
    turned = labels.copy()
    turned[folds == 2] = (turned[folds == 2] + 1) % 4
    a = discriminant._fit(x, labels, 4, folds)[2]
    b = discriminant._fit(x, turned, 4, folds)[2]
    for left, right in zip(a, b, strict=True):
        np.testing.assert_allclose(left, right, atol=1e-4)


def test_a_class_without_a_sample_elsewhere_has_probability_zero():
    x, labels, _ = problem(100, n_classes=3)
    labels[:] = np.where(labels == 2, 0, labels)
    labels[5] = 2
    folds = fold_of_each_row(labels, 4, 0)
    p = discriminant_probabilities(x, labels, 3, folds)
    assert p[5, 2] == 0.0
    np.testing.assert_allclose(p.sum(axis=1), 1.0, atol=1e-6)
    assert np.isfinite(p).all()


def test_large_problems_take_it_and_find_as_much(monkeypatch):
    x, labels, true = problem(2000)
    small = out_of_sample_probabilities(x, labels, 4)
    monkeypatch.setattr(out_of_sample, "LARGE_WORK", 0)
    large = out_of_sample_probabilities(x, labels, 4)
    assert not np.allclose(small, large, atol=1e-3)
    accuracy = [float((p.argmax(axis=1) == true).mean()) for p in (small, large)]
    assert accuracy[1] == pytest.approx(accuracy[0], abs=0.02)
    likely = [np.log(p[np.arange(len(p)), labels] + 1e-12).mean() for p in (small, large)]
    assert likely[1] == pytest.approx(likely[0], abs=0.05)
