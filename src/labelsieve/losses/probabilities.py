"""Log-probabilities in a precision that the bounded losses can bear."""

from __future__ import annotations

import torch


def log_probabilities(logits: torch.Tensor) -> torch.Tensor:
    """Log-softmax over classes, in float32 at least (half precision flushes small p to zero)."""
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    return torch.log_softmax(logits, dim=-1)


def of_label(values: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Pick values[i, labels[i]]: (B, K) and (B,) to (B,)."""
    return values.gather(-1, labels.unsqueeze(-1)).squeeze(-1)
