"""Two Gaussians over per-sample losses: the clean samples are those of the lower one."""

from __future__ import annotations

import logging
import warnings

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit, logit
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from ..core.threads import threads_for
from ..core.validation import FloatArray

log = logging.getLogger(__name__)
LEAST = 1e-6
"""Probabilities are kept this far from 0 and 1 before their log-odds."""
LARGEST_SHIFT = 40.0


def shift_to_rate(p_clean: FloatArray, noise_rate: float) -> float:
    """The shift of log-odds after which the mean of clean probabilities is 1 - noise_rate.

    Another prior of the two groups adds the same to the log-odds of every sample (Saerens et al.,
    Neural Computation 2002).

    Parameters
    ----------
    p_clean : ndarray, shape (N,)
        Posterior with the mixture's own weights.
    noise_rate : float
        The known share of wrong labels, in 0..1.

    Examples
    --------
    >>> p_clean = np.array([0.5, 0.5])
    >>> shifted(p_clean, shift_to_rate(p_clean, 0.25))
    array([0.75, 0.75])
    """
    if not 0.0 < noise_rate < 1.0:
        return np.inf if noise_rate < 0.5 else -np.inf
    odds = logit(np.clip(p_clean, LEAST, 1.0 - LEAST))

    def excess(shift: float) -> float:
        return float(expit(odds + shift).mean()) - (1.0 - noise_rate)

    most = LARGEST_SHIFT - float(logit(LEAST))
    return float(brentq(excess, -most, most))  # type: ignore[arg-type]


def shifted(p_clean: FloatArray, shift: float) -> FloatArray:
    """Clean probabilities with another prior; the order stays. See `shift_to_rate`."""
    return expit(logit(np.clip(p_clean, LEAST, 1.0 - LEAST)) + shift)


def clean_probability_from_losses(losses: FloatArray, *, random_state: int = 0) -> FloatArray:
    """Posterior of the lower-mean component of a two-component mixture over losses.

    As in DivideMix (Li et al., ICLR 2020), on losses scaled to 0..1; the posterior is then made
    non-increasing in the loss, since two Gaussians of unlike width would call the very smallest
    losses noisy.

    Parameters
    ----------
    losses : ndarray, shape (N,)
        One finite loss a sample.
    random_state : int
        Start of the mixture's k-means.

    Returns
    -------
    ndarray of float64, shape (N,)
        Clean probability; all ones when the losses are equal or there are fewer than two.

    Examples
    --------
    >>> p = clean_probability_from_losses(np.array([0.1] * 50 + [0.9] * 50))
    >>> (p[:50] > 0.5).all(), (p[50:] < 0.5).all()
    (np.True_, np.True_)
    """
    losses = np.asarray(losses, dtype=np.float64)
    low, high = losses.min(initial=np.inf), losses.max(initial=-np.inf)
    if len(losses) < 2 or high - low < 1e-12:
        return np.ones(len(losses))
    scaled = ((losses - low) / (high - low))[:, None]
    mixture = GaussianMixture(2, max_iter=100, tol=1e-4, reg_covar=5e-4, random_state=random_state)
    with warnings.catch_warnings(), threads_for(len(losses)):
        # the last step's mixture is as good a one; it is logged
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(scaled)
    if not mixture.converged_:
        log.info("the loss mixture still moved after %d steps", mixture.n_iter_)
    posterior = mixture.predict_proba(scaled)[:, int(np.argmin(np.asarray(mixture.means_)))]
    order = np.argsort(losses, kind="stable")
    monotone = np.empty_like(posterior)
    peak = int(posterior[order].argmax())
    sorted_posterior = posterior[order].copy()
    sorted_posterior[:peak] = sorted_posterior[peak]
    monotone[order] = np.minimum.accumulate(sorted_posterior)
    return monotone
