"""Entropic optimal transport by Sinkhorn's iteration in the log domain."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from ..core.exceptions import gather

SCALINGS = 9
"""Plain iterations after each one in the log domain, which costs as much as about twenty."""


@dataclass(frozen=True, eq=False)
class TransportPlan:
    """What `sinkhorn` found.

    Attributes
    ----------
    plan : Tensor, shape (N, K), float64
        Non-negative; the columns have exactly their mass, the rows up to `error`.
    error : float
        Sum over rows of what their mass is off.
    n_iterations : int
        Iterations done, over all stages.
    converged : bool
        Whether `error` is within the tolerance.
    """

    plan: Tensor
    error: float
    n_iterations: int
    converged: bool


def sinkhorn(
    cost: Tensor,
    reg: float = 0.01,
    *,
    mass: float = 1.0,
    n_iterations: int = 1000,
    tolerance: float = 1e-6,
) -> TransportPlan:
    """Plan that minimises ``<plan, cost> + reg * sum plan (log plan - 1)``.

    Rows carry 1/N each and columns ``mass / K``. With ``mass`` below 1 only that much is
    transported: rows carry at most 1/N, and those that are cheap to serve go first (the partial
    transport of CSOT, Chang et al., NeurIPS 2023, which NLPrompt's budget is).

    Sinkhorn's scaling (Cuturi, NIPS 2013) is done on logarithms, so that no kernel entry
    ``exp(-cost / reg)`` is ever formed: with ``reg`` below about 1/745 of a row's smallest cost all
    of them are zero in float64, and the plain iteration returns an empty plan. The regularisation
    falls to its value in halves, each stage starting where the last one ended (Schmitzer, SIAM J.
    Sci. Comput. 2019), without which small values need many more iterations.

    Parameters
    ----------
    cost : Tensor, shape (N, K)
        Finite; a constant added to a row changes nothing when `mass` is 1.
    reg : float
        Entropic regularisation, above 0, in units of the cost.
    mass : float
        Total mass to transport, in (0, 1].
    n_iterations : int
        Most iterations of the last stage; each earlier one has at most a tenth of it.
    tolerance : float
        Allowed error of the row marginals (sum over rows).

    Raises
    ------
    InputError
        If an argument is out of range or the cost is not finite.

    Examples
    --------
    >>> cost = torch.tensor([[0.0, 1.0], [0.2, 0.0]])
    >>> (2 * sinkhorn(cost, 0.1).plan).round(decimals=3)
    tensor([[0.9980, 0.0020],
            [0.0020, 0.9980]], dtype=torch.float64)
    """
    _check(cost, reg, mass, n_iterations, tolerance)
    cost = cost.detach().double()
    problem = _Problem(cost, mass)
    spread = float((cost - cost.amin(dim=1, keepdim=True)).max())
    n_halvings = max(0, math.ceil(math.log2(max(spread / reg, 1e-300))))
    potential, done = cost.new_zeros(cost.shape[1]), 0
    for stage in range(n_halvings, 0, -1):
        potential, _, count = problem.run(
            potential, reg * 2**stage, max(1, n_iterations // 10), max(tolerance, 1e-3)
        )
        done += count
    potential, error, count = problem.run(potential, reg, n_iterations, tolerance)
    return TransportPlan(
        problem.plan(potential, reg), error, done + count, bool(error <= tolerance)
    )


@dataclass(frozen=True, eq=False)
class _Problem:
    """One cost matrix with its marginals; a potential of the columns, (K,), stands for a plan."""

    cost: Tensor
    mass: float

    def rows(self, potential: Tensor, reg: float) -> Tensor:
        """Logarithms of the row scalings, (N,); they only shrink when rows have an upper bound."""
        scores = torch.logsumexp((potential - self.cost) / reg, dim=1)
        scaling = -math.log(len(self.cost)) - scores
        return scaling if self.mass == 1.0 else scaling.clamp(max=0.0)

    def columns(self, log_rows: Tensor, reg: float) -> Tensor:
        """The potential that gives every column its mass, (K,)."""
        sums = torch.logsumexp(log_rows[:, None] - self.cost / reg, dim=0)
        return reg * (math.log(self.mass / self.cost.shape[1]) - sums)

    def run(
        self, potential: Tensor, reg: float, n_iterations: int, tolerance: float
    ) -> tuple[Tensor, float, int]:
        """Iterate from a potential: the new one, the error of the rows, and the iterations."""
        done = 0
        while True:
            log_rows = self.rows(potential, reg)
            potential = self.columns(log_rows, reg)
            kernel = ((potential - self.cost) / reg + log_rows[:, None]).exp()
            done += 1
            error = self.error(kernel.sum(dim=1), log_rows)
            if error <= tolerance or done >= n_iterations:
                return potential, error, done
            count = min(SCALINGS, n_iterations - done)
            potential = potential + reg * self.scale(kernel, log_rows, count)
            done += count

    def scale(self, kernel: Tensor, log_rows: Tensor, count: int) -> Tensor:
        """Plain iterations on a plan that is nearly right: log scalings of its columns, (K,).

        No row or column of such a plan is empty, so nothing can underflow, and an iteration is two
        products with a vector. Where it fails all the same, the log domain goes on alone.
        """
        most = (-log_rows).exp()  # what keeps a row that may not grow at a scaling of at most 1
        columns = kernel.new_ones(kernel.shape[1])
        for _ in range(count):
            rows = 1 / len(kernel) / (kernel @ columns)
            rows = rows if self.mass == 1.0 else torch.minimum(rows, most)
            columns = self.mass / kernel.shape[1] / (rows @ kernel)
        found = columns.log()
        return found if torch.isfinite(found).all() else torch.zeros_like(found)

    def error(self, carried: Tensor, log_rows: Tensor) -> float:
        """How far the rows are from 1/N; a row that is not full counts only when it is shrunk."""
        off = carried - 1 / len(self.cost)
        if self.mass < 1.0:
            off = torch.where(log_rows < 0, off, off.clamp(min=0.0))
        return float(off.abs().sum())

    def plan(self, potential: Tensor, reg: float) -> Tensor:
        """The plan of a potential, with the column marginals exact."""
        log_rows = self.rows(potential, reg)
        potential = self.columns(log_rows, reg)
        return ((potential - self.cost) / reg + log_rows[:, None]).exp()


def _check(cost: Tensor, reg: float, mass: float, n_iterations: int, tolerance: float) -> None:
    problems = []
    if cost.ndim != 2 or 0 in cost.shape:
        problems.append(f"cost must have shape (N, K) with N, K >= 1, not {tuple(cost.shape)}")
    elif not torch.isfinite(cost).all():
        problems.append("cost holds values that are not finite")
    if not 0 < reg < math.inf:
        problems.append(f"reg must be a finite number above 0, not {reg!r}")
    if not 0 < mass <= 1:
        problems.append(f"mass must be in (0, 1], not {mass!r}")
    if n_iterations < 1:
        problems.append(f"n_iterations must be at least 1, not {n_iterations!r}")
    if not 0 < tolerance < math.inf:
        problems.append(f"tolerance must be a finite number above 0, not {tolerance!r}")
    gather(problems, what="optimal transport")
