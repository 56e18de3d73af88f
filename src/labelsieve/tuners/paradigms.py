"""The paradigms that DeFT compares (Wei et al., NeurIPS 2024), beside full fine-tuning."""

from __future__ import annotations

from functools import partial

from .coop import CoOp
from .fine_tune import FineTune

vpt = partial(FineTune, visual_tuning="vpt-deep")
"""Visual prompts and a linear head."""

vlpt = partial(CoOp, visual_tuning="vpt-deep")
"""Visual prompts and learned words around the class names."""
