"""Approximate nearest neighbours by inverted lists: cost grows linearly with the rows.

Rows are divided into lists of about `LIST_ROWS` by spherical k-means (Dhillon & Modha, 2001). The
rows of a list are compared with those of the lists whose centres are nearest to its own, as one
product, until `CANDIDATES` rows were looked at.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

LIST_ROWS = 1000
CANDIDATES = 16_000
SAMPLES_PER_LIST = 48
ROUNDS = 8
BLOCK = 4096


def approximate_neighbours(
    x: Tensor, k: int, *, candidates: int = CANDIDATES, list_rows: int = LIST_ROWS, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """The k most similar other rows among those of the nearest lists.

    Parameters
    ----------
    x : Tensor, shape (N, D)
        L2-normalised features; may be memory-mapped.
    k : int
        Neighbours a row, less than N.
    candidates : int
        Rows that each row is compared with, at least.
    list_rows : int
        Rows a list, on average.
    seed : int
        Of the sample on which the centres are found.

    Returns
    -------
    indices, similarities : Tensor
        Shape (N, k), int64 and float32, most similar first. Where fewer than k candidates
        exist, which needs empty lists, all rows are candidates.
    """
    centres = _centres(x, max(1, len(x) // list_rows), seed)
    owner = torch.cat([(part @ centres.T).argmax(dim=1) for part in x.split(BLOCK)])
    order = owner.argsort(stable=True)
    counts = torch.bincount(owner, minlength=len(centres))
    members = order.split(counts.tolist())
    indices = torch.empty((len(x), k), dtype=torch.long)
    similarities = torch.empty((len(x), k))
    for number, rows in enumerate(members):
        if not len(rows):
            continue
        near = (centres @ centres[number]).argsort(descending=True, stable=True)
        enough = int((counts[near].cumsum(0) < max(candidates, k + 1)).sum()) + 1
        others = torch.cat([members[i] for i in near[:enough].tolist()])
        pool = x[others]
        for part in rows.split(BLOCK):
            cosine = x[part] @ pool.T
            cosine[others[None] == part[:, None]] = -torch.inf
            found = cosine.topk(k, dim=1)
            indices[part], similarities[part] = others[found.indices], found.values
    return indices, similarities


def _centres(x: Tensor, n_lists: int, seed: int) -> Tensor:
    """Unit centres of the lists, (L, D), by k-means on a sample; empty ones keep their place."""
    generator = torch.Generator().manual_seed(seed)
    n_samples = min(len(x), SAMPLES_PER_LIST * n_lists)
    chosen = torch.randperm(len(x), generator=generator)[:n_samples].sort().values
    sample = x[chosen]
    centres = sample[torch.randperm(n_samples, generator=generator)[:n_lists]].clone()
    for _ in range(ROUNDS):
        owner = torch.cat([(part @ centres.T).argmax(dim=1) for part in sample.split(BLOCK)])
        sums = torch.zeros_like(centres).index_add_(0, owner, sample)
        filled = torch.bincount(owner, minlength=n_lists) > 0
        centres[filled] = normalize(sums[filled], dim=1)
    return centres
