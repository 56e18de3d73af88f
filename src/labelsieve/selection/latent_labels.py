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
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax

from ..core.validation import BoolArray, FloatArray, IntArray
from .feature_maps import FourierFeatures, Whitening
from .out_of_sample import fold_of_each_row

log = logging.getLogger(__name__)

RIDGE = 10.0  # L2 penalty on the correction, on whitened features
LEAST_DOUBT = 0.2  # no label is flagged below this error probability: clean data stay unflagged
FIRST_RATE = 0.3  # noise rate at the start of expectation-maximisation
FIRST_SCALES = (0.0, 0.1, 0.2, 0.4, 0.7, 1.0, 1.5)  # tried on the zero-shot logits
UNIFORM_ROUNDS = 2  # rounds with one noise rate for all pairs: a weak prior must not rename classes
FULL_ROUNDS = 4  # rounds with the whole noise matrix
MATRIX_STEPS = 20  # of expectation-maximisation where nothing but the noise matrix is learned
SCALES = (0.3, 0.5, 0.7, 1.0, 1.4, 2.0)  # tried on the logits of a trained classifier
SCALE_ROWS = 5_000  # on which they are compared
STEPS = 8  # of L-BFGS in a maximisation step, which need not converge
STACKING_ROUNDS = 5
SAMPLES_PER_CELL = 10  # N / K^2 below which the noise matrix is shrunk by K^2, not K, samples


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


@dataclass(frozen=True)
class LatentModel:
    """What was fitted, for samples that were not.

    Attributes
    ----------
    whitening : Whitening
    repeats : list of tuple
        For each repeat its Fourier features with their whitening (None without), the correction
        (F, K), the stacking weights (2 + K,) and the noise matrix. The correction is the mean
        over the folds, since none of them has seen a new sample.
    """

    whitening: Whitening
    repeats: list[tuple[Any, ...]]

    def posterior(
        self, features: FloatArray, labels: IntArray, zero_shot_logits: FloatArray
    ) -> FloatArray:
        """P(true | image, given label), shape (N, K), of rows that were not fitted.

        Parameters
        ----------
        features, labels, zero_shot_logits
            As for `fit_latent_labels`.
        """
        zero_shot = _centred(zero_shot_logits)
        linear, log_posterior = self.whitening(features), 0.0
        for (fourier, white), correction, v, matrix in self.repeats:
            x = linear if fourier is None else white(fourier(features, linear))
            evidence = v[0] * zero_shot + v[1] * (x @ correction) + v[2:]
            posterior = _posterior(evidence, matrix, labels).astype(float)
            log_posterior = log_posterior + np.log(posterior + 1e-30) / len(self.repeats)
        return softmax(log_posterior, axis=1)


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
    zero_shot = _centred(zero_shot_logits)
    whitening = Whitening.fit(features)
    linear = whitening(features)
    generator = np.random.default_rng(random_state)
    known = np.full(len(labels), -1) if known_labels is None else np.asarray(known_labels)
    log_posterior, matrices, repeats = 0.0, [], []
    for repeat, seed in enumerate(generator.integers(2**31, size=n_repeats)):
        x, fourier = linear, (None, None)
        if repeat % 2:
            waves = FourierFeatures.fit(features, linear, seed)
            wide = waves(features, linear)
            fourier = (waves, Whitening.fit(wide))
            x = fourier[1](wide)
        folds = fold_of_each_row(labels, min(n_folds, len(labels)), int(seed))
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
        log_posterior = log_posterior + np.log(posterior + 1e-30) / n_repeats
        matrices.append(matrix)
        repeats.append((fourier, *kept, matrix))
    posterior = softmax(log_posterior, axis=1)
    rows, matrix = np.arange(len(labels)), np.mean(matrices, axis=0)
    alone = posterior[rows, labels]
    posterior = _observe(posterior, known)
    model = LatentModel(whitening, repeats)
    return LatentLabels(posterior, posterior[rows, labels], matrix, alone, model)


def _centred(zero_shot_logits: FloatArray) -> FloatArray:
    zero_shot = np.asarray(zero_shot_logits, dtype=np.float32)
    return zero_shot - zero_shot.mean(axis=1, keepdims=True)


def posterior_of_logits(logits: FloatArray, labels: IntArray) -> tuple[FloatArray, FloatArray]:
    """Posterior of the true label from class logits and given labels alone.

    The scale of the logits and a noise matrix are fitted to the given labels by maximum
    likelihood; nothing else is learned, so it suits logits of a model that was trained already.

    Parameters
    ----------
    logits : ndarray, shape (N, K)
        Of any classifier.
    labels : ndarray of int64, shape (N,)
        Given labels.

    Returns
    -------
    posterior : ndarray of float64, shape (N, K)
        P(true | image, given).
    matrix : ndarray of float64, shape (K, K)
        P(given | true); rows are true classes.
    """
    n, k = logits.shape
    logits = np.asarray(logits, dtype=np.float64)
    # A free noise matrix would rather explain doubt as noise than lower the scale.
    prior = float(SAMPLES_PER_CELL * k * k)
    some = np.linspace(0, n - 1, min(n, SCALE_ROWS)).astype(int)
    best = (-np.inf, 0.0)
    for scale in SCALES:
        matrix = _fit_noise(scale * logits[some], labels[some], prior)
        likelihood = (softmax(scale * logits[some], axis=1) * matrix.T[labels[some]]).sum(axis=1)
        best = max(best, (float(np.log(likelihood + 1e-30).mean()), scale))
    matrix = _fit_noise(best[1] * logits, labels, prior)
    return _posterior(best[1] * logits, matrix, labels), matrix


def _fit_noise(logits: FloatArray, labels: IntArray, prior: float) -> FloatArray:
    """The noise matrix of fixed logits: first one rate for all pairs, then the whole matrix."""
    start = _uniform_noise(logits.shape[1], FIRST_RATE)
    matrix = _fit_matrix(logits, start, labels, MATRIX_STEPS // 2, np.inf)
    return _fit_matrix(logits, matrix, labels, MATRIX_STEPS, prior)


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
    first_scale, matrix = _trust_in_zero_shot(zero_shot, labels, known)
    blank = np.zeros((x.shape[1], k), np.float32)
    fits = [_Correction(blank, first_scale) for _ in np.unique(folds)]
    correction, scale = np.zeros_like(zero_shot), np.full((n, 1), first_scale, np.float32)
    for round_ in range(UNIFORM_ROUNDS + FULL_ROUNDS):
        for fold, fit in enumerate(fits):
            seen, held = folds != fold, folds == fold
            target = _posterior(fit.logits(x[seen], zero_shot[seen]), matrix, labels[seen])
            target = _observe(target, known[seen])
            fit.improve(x[seen], zero_shot[seen], target)
            correction[held] = x[held] @ fit.weights
            scale[held] = fit.scale
        prior = np.inf if round_ < UNIFORM_ROUNDS else strength
        matrix = _fit_matrix(scale * zero_shot + correction, matrix, labels, 5, prior, known)
    weights = np.array([float(scale.mean()), 1.0])
    found = _stack([zero_shot, correction], weights, matrix, labels, known, strength)
    mean = np.mean([fit.weights for fit in fits], axis=0)
    return *found[:3], (mean, found[3] if zero_shot.any() else np.append(0.0, found[3][1:]))


def _trust_in_zero_shot(
    zero_shot: FloatArray, labels: IntArray, known: IntArray
) -> tuple[float, FloatArray]:
    """The scale of the zero-shot logits, and one noise rate, that best explain the given labels.

    Without it, confident but useless logits (a domain the model never saw) would decide which
    class is which, and every label would look wrong.
    """
    best = (-np.inf, 0.0, _uniform_noise(zero_shot.shape[1], FIRST_RATE))
    for scale in FIRST_SCALES:
        logits = scale * zero_shot
        start = _uniform_noise(zero_shot.shape[1], FIRST_RATE)
        matrix = _fit_matrix(logits, start, labels, 10, np.inf, known)
        score = _log_likelihood(logits, matrix, labels, known)
        if score > best[0]:
            best = (score, scale, matrix)
    return best[1], best[2]


def _uniform_noise(n_classes: int, rate: float) -> FloatArray:
    """A noise matrix (K, K) with one rate, spread evenly over the other classes."""
    matrix = np.full((n_classes, n_classes), rate / max(n_classes - 1, 1))
    np.fill_diagonal(matrix, 1.0 - rate)
    return matrix


def _posterior(logits: FloatArray, matrix: FloatArray, labels: IntArray) -> FloatArray:
    """P(true | image, given), (N, K): softmax(logits) times the column of the given label."""
    with np.errstate(divide="ignore"):
        return softmax(logits + np.log(matrix.T[labels]), axis=1)


def _observe(posterior: FloatArray, known: IntArray | None) -> FloatArray:
    """The posterior with certainty in the rows whose true label is known (not -1)."""
    if known is None or (known < 0).all():
        return posterior
    rows = np.flatnonzero(known >= 0)
    observed = posterior.copy()
    observed[rows] = 0.0
    observed[rows, known[rows]] = 1.0
    return observed


def _log_likelihood(
    logits: FloatArray, matrix: FloatArray, labels: IntArray, known: IntArray
) -> float:
    """Mean log-probability of the given labels, together with the true ones that are known."""
    joint = softmax(logits, axis=1) * matrix.T[labels]
    likelihood = joint.sum(axis=1)
    rows = np.flatnonzero(known >= 0)
    likelihood[rows] = joint[rows, known[rows]]
    return float(np.log(likelihood + 1e-30).mean())


def _fit_matrix(
    logits: FloatArray,
    matrix: FloatArray,
    labels: IntArray,
    steps: int,
    prior: float,
    known: IntArray | None = None,
) -> FloatArray:
    """Expectation-maximisation of the noise matrix alone.

    `prior` pseudo-samples a class of uniform noise at the current overall rate are added to the
    expected counts; infinity leaves nothing but that rate.
    """
    k = len(matrix)
    for _ in range(steps):
        posterior = _observe(_posterior(logits, matrix, labels), known)
        counts = np.zeros((k, k))
        np.add.at(counts, labels, posterior)
        rate = float(np.clip(1 - np.trace(counts) / len(labels), 1e-3, 1 - 1 / k))
        uniform = _uniform_noise(k, rate)
        if np.isinf(prior):
            matrix = uniform
        else:
            counts = counts.T + prior * uniform
            matrix = counts / counts.sum(axis=1, keepdims=True)
    return matrix


@dataclass
class _Correction:
    """Logits scale * zero_shot + x @ weights of one fold."""

    weights: FloatArray
    scale: float

    def logits(self, x: FloatArray, zero_shot: FloatArray) -> FloatArray:
        return self.scale * zero_shot + x @ self.weights

    def improve(self, x: FloatArray, zero_shot: FloatArray, target: FloatArray) -> None:
        """A few steps towards the soft labels `target` (N, K), with a ridge on the weights."""
        shape, n = self.weights.shape, len(x)
        ridge = np.full((shape[0], 1), RIDGE, np.float32)
        ridge[-1] *= 0.01  # the bias is nearly free
        target = target.astype(np.float32)

        def objective(v: FloatArray) -> tuple[float, FloatArray]:
            w = v[:-1].reshape(shape).astype(np.float32)
            log_q = log_softmax(np.float32(v[-1]) * zero_shot + x @ w, axis=1)
            residual = np.exp(log_q) - target
            loss = -(target * log_q).sum(dtype=float) + 0.5 * float((ridge * w * w).sum())
            slope = np.append(x.T @ residual + ridge * w, (residual * zero_shot).sum())
            return loss / n, slope.astype(float) / n

        v = _minimize(objective, np.append(self.weights, self.scale).astype(float), STEPS)
        self.weights, self.scale = v[:-1].reshape(shape).astype(np.float32), float(v[-1])


def _stack(
    evidence: list[FloatArray],
    weights: FloatArray,
    matrix: FloatArray,
    labels: IntArray,
    known: IntArray,
    prior: float,
) -> tuple[FloatArray, FloatArray, float, FloatArray]:
    """Scales of the out-of-fold evidence and a class bias, by the likelihood of given labels."""
    n, k = evidence[0].shape
    v = np.append(weights, np.zeros(k))

    def combine(v: FloatArray) -> FloatArray:
        return sum(w * e for w, e in zip(v, evidence, strict=False)) + v[len(evidence) :]

    for _ in range(STACKING_ROUNDS):
        matrix = _fit_matrix(combine(v), matrix, labels, 3, prior, known)
        target = _observe(_posterior(combine(v), matrix, labels), known)

        def objective(v: FloatArray, target: FloatArray = target) -> tuple[float, FloatArray]:
            log_q = log_softmax(combine(v), axis=1)
            residual = np.exp(log_q) - target
            slope = [(residual * e).sum() for e in evidence]
            return -(target * log_q).sum() / n, np.append(slope, residual.sum(axis=0)) / n

        v = _minimize(objective, v, 10)
    matrix = _fit_matrix(combine(v), matrix, labels, 3, prior, known)
    logits = combine(v)
    posterior = _posterior(logits, matrix, labels).astype(float)
    return posterior, matrix, _log_likelihood(logits, matrix, labels, known), v


def _minimize(
    objective: Callable[[FloatArray], tuple[float, FloatArray]], start: FloatArray, steps: int
) -> FloatArray:
    """A bounded number of L-BFGS steps."""
    options = {"maxiter": steps}
    return minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x
