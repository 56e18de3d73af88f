"""Votes of the nearest neighbours in feature space, in blocks of bounded memory."""

from __future__ import annotations

import numpy as np
import torch

from ..core.arrays import chunks, probabilities
from ..core.validation import FloatArray, IntArray, check_number
from .inverted_lists import approximate_neighbours

EXACT_ROWS = 50_000
"""Up to here all pairs are compared; beyond, where the cost of that is quadratic, lists are."""


def nearest_neighbours(
    features: FloatArray, k: int, *, block: int = 1024, exact_rows: int = EXACT_ROWS
) -> tuple[IntArray, FloatArray]:
    """The k most similar other rows of each row.

    Parameters
    ----------
    features : ndarray of float32, shape (N, D)
        L2-normalised features.
    k : int
        Neighbours a row; at most N - 1 are given.
    block : int
        Rows compared at a time; memory is `block` x N similarities.
    exact_rows : int
        With more rows than this, neighbours are looked for in the nearest of many lists, see
        `inverted_lists`: linear cost, and a few neighbours are missed.

    Returns
    -------
    indices : ndarray of int64, shape (N, k)
        Most similar first, never the row itself.
    similarities : ndarray of float32, shape (N, k)
        Cosines.
    """
    check_number(k, name="k", low=1, integer=True)
    x = torch.as_tensor(features)
    k = min(k, len(x) - 1)
    if len(x) > exact_rows:
        found = approximate_neighbours(x, k)
        return found[0].numpy(), found[1].numpy()
    indices, similarities = [], []
    for start in range(0, len(x), block):
        cosine = x[start : start + block] @ x.T
        rows = torch.arange(len(cosine))
        cosine[rows, rows + start] = -torch.inf
        top = cosine.topk(k, dim=1)
        indices.append(top.indices)
        similarities.append(top.values)
    return torch.cat(indices).numpy(), torch.cat(similarities).numpy()


def neighbour_votes(
    features: FloatArray, labels: IntArray, n_classes: int, *, k: int = 10
) -> FloatArray:
    """Share of each class among the given labels of the k nearest neighbours, by similarity.

    The idea of SimiFeat (Zhu et al., ICML 2022). A row never votes for itself.

    Parameters
    ----------
    features : ndarray of float32, shape (N, D)
        L2-normalised features.
    labels : ndarray of int64, shape (N,)
        Given labels.
    n_classes : int
        Number of classes, K.
    k : int
        Neighbours a row.

    Returns
    -------
    ndarray of float64 (float32 when large), shape (N, K)
        Rows sum to 1.
    """
    indices, similarities = nearest_neighbours(features, k)
    votes = probabilities(len(features), n_classes)
    for rows in chunks(len(features), n_classes):
        weights = np.maximum(similarities[rows], 0.0).astype(np.float64) + 1e-12
        part = np.zeros((len(weights), n_classes))
        np.add.at(part, (np.arange(len(part))[:, None], labels[indices[rows]]), weights)
        votes[rows] = part / part.sum(axis=1, keepdims=True)
    return votes
