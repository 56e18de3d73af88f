"""Down, ReLU, up: the part that adapters share."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


class Bottleneck(nn.Module):
    """up(relu(down(x))) with `up` zero at the start, so that nothing changes before training.

    Parameters
    ----------
    width, size : int
        Width W of the tower, and b of the bottleneck: 2 W b + W + b numbers.
    normal : bool
        Whether `down` is drawn from Kaiming's normal distribution for ReLU, N(0, 2 / W), or
        uniformly from +-1 / sqrt(W), as `torch.nn.Linear` does. Biases start at zero.
    generator : torch.Generator
        The only source of randomness.
    """

    def __init__(self, width: int, size: int, *, normal: bool, generator: torch.Generator):
        super().__init__()
        down = torch.empty(size, width, device=generator.device)
        if normal:
            down.normal_(0, math.sqrt(2 / width), generator=generator)
        else:
            down.uniform_(-1 / math.sqrt(width), 1 / math.sqrt(width), generator=generator)
        self.down = nn.Parameter(down)
        self.down_bias = nn.Parameter(torch.zeros(size))
        self.up = nn.Parameter(torch.zeros(width, size))
        self.up_bias = nn.Parameter(torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        """Any shape (..., W) -> (..., W), in the precision of `x`."""
        hidden = linear(x, self.down.to(x.dtype), self.down_bias.to(x.dtype)).relu()
        return linear(hidden, self.up.to(hidden.dtype), self.up_bias.to(hidden.dtype))
