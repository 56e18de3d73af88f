"""Randomness is passed down as generators; the global states are left as they were."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from .exceptions import InputError

RandomState = int | np.random.Generator


def numpy_generator(random_state: RandomState) -> np.random.Generator:
    """A numpy generator from a seed (0 is a seed like any other) or a generator.

    Raises
    ------
    InputError
        If the seed is not an integer of at least 0.
    """
    if isinstance(random_state, np.random.Generator):
        return random_state
    if isinstance(random_state, bool) or not isinstance(random_state, int | np.integer):
        raise InputError(f"random_state must be an integer of at least 0, not {random_state!r}")
    if random_state < 0:
        raise InputError(f"random_state must be at least 0, not {random_state}")
    return np.random.default_rng(int(random_state))


def torch_generator(
    random_state: RandomState, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A torch generator on `device`, seeded from a seed or from the next draw of a generator."""
    seed = int(numpy_generator(random_state).integers(2**63 - 1))
    return torch.Generator(device=device).manual_seed(seed)


@contextmanager
def seeded(generator: torch.Generator, device: torch.device, offset: int = 0) -> Iterator[None]:
    """Lend the global random state a seed of ours: dropout and stochastic depth draw from it.

    Parameters
    ----------
    generator : torch.Generator
        Gives the seed.
    device : torch.device
        Where the network computes.
    offset : int
        Added to it; the number of the process, so that processes draw differently.
    """
    seed = int(torch.randint(2**62, (), generator=generator)) + offset
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        torch.default_generator.manual_seed(seed)
        if devices:
            torch.cuda.manual_seed(seed)
        yield
