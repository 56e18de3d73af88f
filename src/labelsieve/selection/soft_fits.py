"""Logits fitted to soft labels by a few steps of L-BFGS, which need not converge."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax

from ..core.validation import FloatArray, IntArray
from .noise_em import fit_matrix, log_likelihood, observe, posterior_of

RIDGE = 10.0  # L2 penalty on the correction, on whitened features
STEPS = 8  # of a maximisation step
STACKING_ROUNDS = 5


@dataclass
class Correction:
    """Logits scale * zero_shot + x @ weights of one fold."""

    weights: FloatArray
    scale: float

    def logits(self, x: FloatArray, zero_shot: FloatArray) -> FloatArray:
        """Of rows (N, F) with centred zero-shot logits (N, K)."""
        return self.scale * zero_shot + x @ self.weights

    def improve(self, x: FloatArray, zero_shot: FloatArray, target: FloatArray) -> None:
        """A few steps towards the soft labels `target` (N, K), with a ridge on the weights."""
        shape, n = self.weights.shape, len(x)
        if n == 0:  # with one sample a class, all are in one fold
            return
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

        v = minimize_some(objective, np.append(self.weights, self.scale).astype(float), STEPS)
        self.weights, self.scale = v[:-1].reshape(shape).astype(np.float32), float(v[-1])


def stack(
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
        matrix = fit_matrix(combine(v), matrix, labels, 3, prior, known)
        target = observe(posterior_of(combine(v), matrix, labels), known)

        def objective(v: FloatArray, target: FloatArray = target) -> tuple[float, FloatArray]:
            log_q = log_softmax(combine(v), axis=1)
            residual = np.exp(log_q) - target
            slope = [(residual * e).sum() for e in evidence]
            return -(target * log_q).sum() / n, np.append(slope, residual.sum(axis=0)) / n

        v = minimize_some(objective, v, 10)
    matrix = fit_matrix(combine(v), matrix, labels, 3, prior, known)
    logits = combine(v)
    posterior = posterior_of(logits, matrix, labels).astype(float)
    return posterior, matrix, log_likelihood(logits, matrix, labels, known), v


def minimize_some(
    objective: Callable[[FloatArray], tuple[float, FloatArray]], start: FloatArray, steps: int
) -> FloatArray:
    """A bounded number of L-BFGS steps."""
    options = {"maxiter": steps}
    return minimize(objective, start, jac=True, method="L-BFGS-B", options=options).x
