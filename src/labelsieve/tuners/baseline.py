"""The baselines of learning with noisy labels, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..core.exceptions import InputError
from ..core.validation import check_choice, check_number
from ..losses import LOSSES

SELECTIONS = ("elr", "gmm", "small-loss")
"""Baselines that are more than a loss of logits and labels; all start from cross-entropy."""


@dataclass(frozen=True)
class Baseline:
    """How labels are doubted during training.

    Parameters
    ----------
    name : str
        "elr", "gmm", "small-loss", or a name of `losses.LOSSES`.
    warmup_epochs : int
        Epochs before "gmm" selects, and of the rise of the rate of "small-loss".
    noise_rate : float, optional
        The known share of wrong labels; "small-loss" needs it.
    random_state : int
        Start of the mixture of "gmm".
    """

    name: str
    warmup_epochs: int = 1
    noise_rate: Any = None
    random_state: int = 0

    def check(self) -> None:
        """Raise `InputError` with what cannot be used."""
        check_choice(self.name, (*SELECTIONS, *LOSSES.names()), name="baseline")
        check_number(self.warmup_epochs, name="warmup_epochs", low=0, integer=True)
        if self.noise_rate is not None:
            check_number(self.noise_rate, name="noise_rate", low=0.0, high=1.0)
        elif self.name == "small-loss":
            raise InputError(
                "the baseline 'small-loss' needs noise_rate, the share of wrong labels in 0..1 (on "
                "the command line --param noise_rate=0.2); where it is not known use 'gmm'"
            )
