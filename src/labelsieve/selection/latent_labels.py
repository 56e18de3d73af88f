"""A latent true label behind the given one: evidence, a learned noise matrix, a posterior.

    q(t | x)     = softmax(a zero_shot(x) + c D(x) + bias)_t
    p(given | x) = sum_t q(t | x) T[t, given]
    p_clean      = q(given | x) T[given, given] / p(given | x)

Where the true label t of a sample is known, the sum has that one term, q(t | x) T[t, given].

D is a linear correction of the zero-shot logits on image features, fitted out of fold, so no
sample's evidence has seen its own label. All of it, the noise matrix T included, maximises the
likelihood of the given labels by expectation-maximisation (Dempster et al., 1977; a noise matrix
inside a softmax model as in Bekker and Goldberger, ICASSP 2016). Cost per step is O(N D K), memory
O(N (D + K)).
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from scipy.special import softmax

from ..core.threads import threads_for
from ..core.validation import BoolArray, FloatArray, IntArray
from .feature_maps import FourierFeatures, Whitening
from .latent_model import LatentModel, centred
from .noise_em import (
    FIRST_RATE,
    SAMPLES_PER_CELL,
    fit_matrix,
    fit_rate,
    log_likelihood,
    observe,
    posterior_of,
    uniform_noise,
)
from .out_of_sample import fold_of_each_row
from .soft_fits import Correction, stack

log = logging.getLogger(__name__)

LEAST_DOUBT = 0.2  # no label is flagged below this error probability: clean data stay unflagged
FIRST_SCALES = (0.0, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5)  # tried on the zero-shot logits
UNIFORM_ROUNDS = 2  # rounds with one noise rate for all pairs: a weak prior must not rename classes
FULL_ROUNDS = 4  # rounds with the whole noise matrix


@dataclass(frozen=True)
class LatentLabels:
    """The fitted model.

    Attributes
    ----------
    posterior : ndarray of float64, shape (N, K)
        P(true | image, given label); rows sum to 1.
    p_clean : ndarray of float64, shape (N,)
        The posterior of the given label.
    noise_matrix : ndarray of float64, shape (K, K)
        P(given | true), rows are true classes.
    model_p_clean : ndarray of float64, shape (N,)
        `p_clean` without the sample's own known label; the same where none is known.
    model : LatentModel
        Judges samples that were not fitted.
    """

    posterior: FloatArray
    p_clean: FloatArray
    noise_matrix: FloatArray
    model_p_clean: FloatArray
    model: LatentModel


def fit_latent_labels(
    features: FloatArray,
    labels: IntArray,
    zero_shot_logits: FloatArray,
    *,
    known_labels: IntArray | None = None,
    n_folds: int = 5,
    n_repeats: int = 4,
    random_state: int = 0,
) -> LatentLabels:
    """Fit the model to given labels; no noise rate, no clean labels, no truth.

    Parameters
    ----------
    features : ndarray of float32, shape (N, D)
        Image features.
    labels : ndarray of int64, shape (N,)
        Given labels.
    zero_shot_logits : ndarray, shape (N, K)
        Scaled similarities to the class names.
    known_labels : ndarray of int64, shape (N,), optional
        True labels that a person has confirmed, -1 where none is known. They enter the likelihood
        beside the given labels, which stay as they are: the noise matrix counts these pairs.
        Which samples were looked at may depend on the images and the given labels.
    n_folds : int
        Folds of the out-of-fold correction.
    n_repeats : int
        Fits with other folds, averaged in log-probability. Every second one also sees random
        Fourier features, so that the correction need not be linear.
    random_state : int
        Decides the folds.

    Returns
    -------
    LatentLabels
        Posterior, clean probability and noise matrix.
    """
    zero_shot = centred(zero_shot_logits)
    known = np.full(len(labels), -1) if known_labels is None else np.asarray(known_labels)
    seeds = np.random.default_rng(random_state).integers(2**31, size=n_repeats)
    log_posterior, repeats = 0.0, []
    with threads_for(features.size * zero_shot.shape[1]):
        whitening = Whitening.fit(features)
        linear = whitening(features)
        for repeat, seed in enumerate(seeds):
            x, fourier = linear, (None, None)
            if repeat % 2:
                x, fourier = _with_waves(features, linear, int(seed))
            folds = fold_of_each_row(labels, min(n_folds, len(labels)), int(seed))
            posterior, matrix, kept = _fit_repeat(x, labels, known, zero_shot, folds)
            log_posterior = log_posterior + np.log(posterior + 1e-30) / n_repeats
            repeats.append((fourier, *kept, matrix))
    posterior = softmax(log_posterior, axis=1)
    rows, matrix = np.arange(len(labels)), np.mean([repeat[-1] for repeat in repeats], axis=0)
    alone = posterior[rows, labels]
    posterior = observe(posterior, known)
    model = LatentModel.of(whitening, repeats)
    return LatentLabels(posterior, posterior[rows, labels], matrix, alone, model)


def _with_waves(
    features: FloatArray, linear: FloatArray, seed: int
) -> tuple[FloatArray, tuple[FourierFeatures, Whitening]]:
    """Features beside Fourier features, whitened (N, F), and the two maps."""
    fourier = FourierFeatures.fit(features, linear, seed)
    wide = fourier(features, linear)
    white = Whitening.fit(wide)
    return white(wide), (fourier, white)


def _fit_repeat(
    x: FloatArray, labels: IntArray, known: IntArray, zero_shot: FloatArray, folds: IntArray
) -> tuple[FloatArray, FloatArray, tuple[FloatArray, FloatArray]]:
    """Posterior, noise matrix and what judges further samples, with a prior that can be trusted."""
    posterior, matrix, likelihood, kept = _fit_once(x, labels, known, zero_shot, folds)
    if np.diag(matrix).min() < 0.5:
        # Either more than half of a class is mislabeled, or a useless prior has renamed
        # classes: it surely has where another given label is the most frequent, else the fit
        # that explains the given labels better, out of fold, decides.
        renamed = (matrix.argmax(axis=1) != np.arange(len(matrix))).any()
        alone = _fit_once(x, labels, known, np.zeros_like(zero_shot), folds)
        if renamed or alone[2] > likelihood:
            log.warning("the class names do not help to explain the labels; left them out")
            posterior, matrix, _, kept = alone
    return posterior, matrix, kept


def largest_expected_f1(p_clean: FloatArray) -> BoolArray:
    """Flag the set with the largest expected F1 under the clean probabilities.

    The k least clean samples hold an expected sum of (1 - p_clean) errors, so their expected F1
    is about 2 sum_k / (k + sum_N); the best k is taken (Lipton et al., ECML 2014: the threshold
    on the error probability is half of the optimal F1).

    Parameters
    ----------
    p_clean : ndarray, shape (N,)
        Clean probabilities.

    Returns
    -------
    ndarray of bool, shape (N,)
        True where the label is flagged; ties with the last flagged sample are flagged too, and
        an error probability below 0.2 never is.
    """
    wrong = 1.0 - p_clean
    ordered = np.sort(wrong)[::-1]
    total = ordered.sum()
    if total <= 0:
        return np.zeros(len(wrong), dtype=bool)
    best = (2 * np.cumsum(ordered) / (np.arange(1, len(ordered) + 1) + total)).argmax()
    return wrong >= max(ordered[best], LEAST_DOUBT)


def _fit_once(
    x: FloatArray, labels: IntArray, known: IntArray, zero_shot: FloatArray, folds: IntArray
) -> tuple[FloatArray, FloatArray, float, tuple[FloatArray, FloatArray]]:
    """Posterior (N, K), noise matrix (K, K), mean log-likelihood for one assignment to folds.

    The posterior leaves out what is known of the sample itself. Last come the mean correction of
    the folds and the stacking weights, which judge further samples.
    """
    n, k = zero_shot.shape
    strength = float(k if n >= SAMPLES_PER_CELL * k * k else k * k)
    first_scale, rate = _trust_in_zero_shot(zero_shot, labels, known)
    matrix = uniform_noise(k, rate)
    blank = np.zeros((x.shape[1], k), np.float32)
    fits = {fold: Correction(blank, first_scale) for fold in np.unique(folds)}  # some are empty
    correction, scale = np.zeros_like(zero_shot), np.full((n, 1), first_scale, np.float32)
    for round_ in range(UNIFORM_ROUNDS + FULL_ROUNDS):
        for fold, fit in fits.items():
            seen, held = folds != fold, folds == fold
            target = posterior_of(fit.logits(x[seen], zero_shot[seen]), matrix, labels[seen])
            target = observe(target, known[seen])
            fit.improve(x[seen], zero_shot[seen], target)
            correction[held] = x[held] @ fit.weights
            scale[held] = fit.scale
        logits = scale * zero_shot + correction
        if round_ < UNIFORM_ROUNDS:
            rate = fit_rate(logits, labels, rate, 5, known)
            matrix = uniform_noise(k, rate)
        else:
            matrix = fit_matrix(logits, matrix, labels, 5, strength, known)
    weights = np.array([float(scale.mean()), 1.0])
    found = stack([zero_shot, correction], weights, matrix, labels, known, strength)
    mean = np.mean([fit.weights for fit in fits.values()], axis=0)
    return *found[:3], (mean, found[3] if zero_shot.any() else np.append(0.0, found[3][1:]))


def _trust_in_zero_shot(
    zero_shot: FloatArray, labels: IntArray, known: IntArray
) -> tuple[float, float]:
    """The scale of the zero-shot logits, and one noise rate, that best explain the given labels.

    Without it, confident but useless logits (a domain the model never saw) would decide which
    class is which, and every label would look wrong.
    """
    best = (-np.inf, 0.0, FIRST_RATE)
    for scale in FIRST_SCALES:
        logits = scale * zero_shot
        rate = fit_rate(logits, labels, FIRST_RATE, 10, known)
        noise = uniform_noise(zero_shot.shape[1], rate)
        score = log_likelihood(logits, noise, labels, known)
        if score > best[0]:
            best = (score, scale, rate)
    return best[1], best[2]
