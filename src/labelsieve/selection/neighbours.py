"""Votes of the nearest neighbours in feature space, in blocks of bounded memory."""

from __future__ import annotations

import numpy as np
import torch

from ..core.validation import FloatArray, IntArray, check_number


def nearest_neighbours(
    features: FloatArray, k: int, *, block: int = 1024
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
    ndarray of float64, shape (N, K)
        Rows sum to 1.
    """
    indices, similarities = nearest_neighbours(features, k)
    weights = np.maximum(similarities, 0.0).astype(np.float64) + 1e-12
    votes = np.zeros((len(features), n_classes))
    np.add.at(votes, (np.arange(len(features))[:, None], labels[indices]), weights)
    return votes / votes.sum(axis=1, keepdims=True)
