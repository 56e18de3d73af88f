"""The folded model of unseen rows against its repeats, one after the other."""

import numpy as np
from scipy.special import softmax

from labelsieve.selection.feature_maps import FourierFeatures, Whitening
from labelsieve.selection.latent_model import LatentModel
from labelsieve.selection.noise_em import posterior_of, uniform_noise


def test_the_folded_model_equals_the_mean_of_its_repeats():
    rng = np.random.default_rng(0)
    n, d, k = 400, 12, 5
    x = (rng.normal(size=(n, d)) @ rng.normal(size=(d, d))).astype(np.float32)
    labels, zero_shot = rng.integers(k, size=n), rng.normal(size=(n, k))
    whitening = Whitening.fit(x)
    linear = whitening(x)
    repeats, log_posterior = [], 0.0
    for repeat in range(4):
        fourier, white, columns = None, None, linear
        if repeat % 2:
            fourier = FourierFeatures.fit(x, linear, repeat)
            wide = fourier(x, linear)
            white = Whitening.fit(wide)
            columns = white(wide)
        correction = rng.normal(size=(columns.shape[1], k)).astype(np.float32)
        v, matrix = rng.normal(size=2 + k), uniform_noise(k, 0.1 + 0.1 * repeat)
        centred = zero_shot - zero_shot.mean(axis=1, keepdims=True)
        evidence = v[0] * centred + v[1] * (columns @ correction) + v[2:]
        log_posterior = log_posterior + np.log(posterior_of(evidence, matrix, labels)) / 4
        repeats.append(((fourier, white), correction, v, matrix))
    found = LatentModel.of(whitening, repeats).posterior(x, labels, zero_shot)
    np.testing.assert_allclose(found, softmax(log_posterior, axis=1), atol=2e-5)
    np.testing.assert_allclose(found.sum(axis=1), 1.0)
