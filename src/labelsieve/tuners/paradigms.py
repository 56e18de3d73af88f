"""The paradigms that DeFT compares (Wei et al., NeurIPS 2024), beside full fine-tuning."""

from __future__ import annotations

from functools import partial

from .coop import CoOp
from .fine_tune import FineTune
from .recipes import PARAMETER_EFFICIENT

vpt = partial(FineTune, visual_tuning="vpt-deep")
"""Visual prompts and a linear head."""

vlpt = partial(
    CoOp,
    visual_tuning="vpt-deep",
    loss="ce",
    epochs=10,
    batch_size=64,
    lr=PARAMETER_EFFICIENT["lr"],
    warmup_epochs=0,
)
"""Visual prompts and learned words around the class names; loss and schedule are those of vpt."""
