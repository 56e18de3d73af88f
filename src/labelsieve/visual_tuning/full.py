"""Full fine-tuning of the encoder blocks, as an own copy beside the frozen tower."""

from __future__ import annotations

from torch import nn

from .blocks import chosen
from .own_copies import AbstractOwnCopies


class FullTuning(AbstractOwnCopies):
    """All weights of the encoder blocks are trained; what stands around the blocks stays frozen.

    Patch, class and position embeddings, the norms before and after the blocks, pooling and
    projection are not trained (as in the code of DeFT, Wei et al., NeurIPS 2024).

    Parameters
    ----------
    partial : int, optional
        Only the last `partial` blocks; default is all.

    Notes
    -----
    Costs the memory of a second set of blocks in float32, since the tower keeps its own weights.
    """

    def __init__(self, *, partial: int | None = None):
        super().__init__()
        self.partial = partial

    def _names(self, tower: nn.Module) -> list[str]:
        return [
            f"encoder.layers.{number}.{name}"
            for number, block in chosen(tower, self.partial).items()
            for name, _ in block.named_parameters()
        ]
