"""Approximate nearest neighbours by inverted lists: cost grows linearly with the rows.

Rows are divided into lists of about `LIST_ROWS` by spherical k-means (Dhillon & Modha, 2001). Each
row is compared with the rows of the `PROBES` lists whose centres are nearest to it; all rows that
ask for a list are compared with it in one product (Sivic & Zisserman, ICCV 2003, gave the name).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

LIST_ROWS = 1000
PROBES = 16
SAMPLES_PER_LIST = 48
ROUNDS = 8
BLOCK = 4096


def approximate_neighbours(
    x: Tensor, k: int, *, probes: int = PROBES, list_rows: int = LIST_ROWS, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """The k most similar other rows among those of the nearest lists.

    Parameters
    ----------
    x : Tensor, shape (N, D)
        L2-normalised features; may be memory-mapped.
    k : int
        Neighbours a row, less than N.
    probes : int
        Lists that each row is compared with; more where they hold fewer than k other rows.
    list_rows : int
        Rows a list, on average.
    seed : int
        Of the sample on which the centres are found.

    Returns
    -------
    indices, similarities : Tensor
        Shape (N, k), int64 and float32, most similar first.
    """
    centres = _centres(x, max(1, len(x) // list_rows), seed)
    nearest = torch.cat([(part @ centres.T).argmax(dim=1) for part in x.split(BLOCK)])
    counts = torch.bincount(nearest, minlength=len(centres))
    members = nearest.argsort(stable=True).split(counts.tolist())
    asked = _asked_lists(x, centres, counts, probes, k)
    indices = torch.full((len(x), k), -1)
    similarities = torch.full((len(x), k), -torch.inf)
    order = asked.flatten().argsort(stable=True)
    queries = torch.bincount(asked.flatten(), minlength=len(centres)).tolist()
    asking = (order // asked.shape[1]).split(queries)
    for number, (rows, others) in enumerate(zip(asking, members, strict=True)):
        if not len(others):
            continue
        pool = x[others]
        for part in rows.split(BLOCK):
            cosine = x[part] @ pool.T
            inside = (nearest[part] == number).nonzero()[:, 0]  # these meet themselves
            cosine[inside, torch.searchsorted(others, part[inside])] = -torch.inf
            found = cosine.topk(min(k, len(others)), dim=1)
            known = torch.cat([similarities[part], found.values], dim=1).topk(k, dim=1)
            both = torch.cat([indices[part], others[found.indices]], dim=1)
            indices[part] = both.gather(1, known.indices)
            similarities[part] = known.values
    return indices, similarities


def _asked_lists(x: Tensor, centres: Tensor, counts: Tensor, probes: int, k: int) -> Tensor:
    """The lists nearest to each row, (N, p), enough of them to hold k other rows of any row."""
    n = min(probes, len(centres))
    while True:
        asked = torch.cat([(part @ centres.T).topk(n, dim=1).indices for part in x.split(BLOCK)])
        if n == len(centres) or int(counts[asked].sum(dim=1).min()) > k:
            return asked
        n = min(2 * n, len(centres))


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
