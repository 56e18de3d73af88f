"""A linear classifier made of text features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import normalize

from ..core.arrays import zeros
from ..core.exceptions import InputError
from ..core.validation import check_class_names, check_features

CHUNK_ROWS = 16_384


@dataclass(frozen=True, eq=False)
class TextClassifier:
    """One text feature per class; logits are scaled cosines.

    Parameters
    ----------
    weights : Tensor
        Shape (K, D), float32, rows of length 1; shorter where they are means over an ensemble,
        whose logits are then the mean of its members'.
    class_names : tuple of str
        The K classes, in order.
    logit_scale : float
        Factor on the cosines (100 for OpenAI's CLIP).
    logit_bias : float
        Added to the logits (SigLIP); it does not change softmax probabilities.

    Raises
    ------
    InputError
        If weights and class names do not fit together.

    Examples
    --------
    >>> classifier = TextClassifier(torch.eye(2), ("cat", "dog"), logit_scale=10.0)
    >>> classifier.logits(torch.tensor([[1.0, 0.0]])).tolist()
    [[10.0, 0.0]]
    """

    weights: Tensor
    class_names: tuple[str, ...]
    logit_scale: float
    logit_bias: float = 0.0

    def __post_init__(self) -> None:
        """Check that there is one row of weights per class name."""
        names = check_class_names(self.class_names)
        if self.weights.ndim != 2 or len(self.weights) != len(names):
            raise InputError(
                f"weights must have shape (K, D) with K = {len(names)} class names, "
                f"not {tuple(self.weights.shape)}"
            )
        object.__setattr__(self, "class_names", names)
        object.__setattr__(self, "weights", self.weights.detach().float())

    def logits(self, features: Tensor) -> Tensor:
        """Logits `logit_scale * cos + logit_bias`: (N, D) normalised features -> (N, K)."""
        weights = self.weights.to(features.device, features.dtype)
        return self.logit_scale * features @ weights.T + self.logit_bias

    def predict_proba(self, features: Any) -> npt.NDArray[np.float32]:
        """Class probabilities: softmax of the logits, in chunks of rows.

        SigLIP's logits pass through the same softmax: its independent sigmoids answer whether a
        text fits at all, while here every image has exactly one class.

        Parameters
        ----------
        features : array-like or Tensor
            Shape (N, D). Rows are brought to length 1; a row of zeros (an unreadable image) gets
            equal probabilities.

        Returns
        -------
        ndarray
            Shape (N, K), float32, rows sum to 1.

        Raises
        ------
        InputError
            If the features are not finite, or have another width than the weights.
        """
        return probabilities(self.logits, features, self.weights)

    def to_tensors(self) -> dict[str, Tensor]:
        """Everything but the class names as tensors, for a safetensors file."""
        return {
            "weights": self.weights.cpu(),
            "logit_scale": torch.tensor(self.logit_scale, dtype=torch.float64),
            "logit_bias": torch.tensor(self.logit_bias, dtype=torch.float64),
        }

    @classmethod
    def from_tensors(cls, tensors: dict[str, Tensor], class_names: Any) -> TextClassifier:
        """The classifier that `to_tensors` described.

        Raises
        ------
        InputError
            If a tensor is missing or does not fit the class names.
        """
        missing = sorted({"weights", "logit_scale", "logit_bias"} - tensors.keys())
        if missing:
            raise InputError(f"the saved classifier lacks {', '.join(missing)}")
        return cls(
            tensors["weights"],
            tuple(class_names),
            float(tensors["logit_scale"]),
            float(tensors["logit_bias"]),
        )


def probabilities(
    logits: Callable[[Tensor], Tensor], features: Any, weights: Tensor
) -> npt.NDArray[np.float32]:
    """Softmax of the logits of features, in chunks of rows.

    Parameters
    ----------
    logits : callable
        Normalised features (B, D) to logits (B, K).
    features : array-like or Tensor
        Shape (N, D), brought to length 1 here.
    weights : Tensor
        Shape (K, D): says the widths and the device.

    Raises
    ------
    InputError
        If the features are not finite, or have another width than the weights.
    """
    array = check_features(features)
    if array.shape[1] != weights.shape[1]:
        raise InputError(
            f"features have {array.shape[1]} columns, but the classifier was made for "
            f"{weights.shape[1]}; use features of the same backbone"
        )
    out = zeros((len(array), len(weights)))
    for first in range(0, len(array), CHUNK_ROWS):
        rows = torch.tensor(array[first : first + CHUNK_ROWS]).to(weights.device)
        chunk = logits(normalize(rows, dim=-1)).softmax(dim=-1)
        out[first : first + CHUNK_ROWS] = chunk.cpu().numpy()
    return out
