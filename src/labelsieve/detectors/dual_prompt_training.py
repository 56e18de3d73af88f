"""What DeFT's dual prompts are in training: the loss of a batch, and how far a step may go."""

from __future__ import annotations

import torch

from ..prompts import PromptLearner, cosines, encode_together
from ..tuners.image_side import ImageSide
from ..tuners.inputs import FitData
from ..tuners.training import AbstractTrainable
from .dual_prompt_losses import complementary_labels, dual_prompt_losses

# The longest gradient of the positive context. The negative prompts must follow where the positive
# ones go; a text encoder that is steep in the context would throw the positive ones further in a
# step than the selection, which the negative ones decide, stays true.
LONGEST_GRADIENT = 0.03


class DualPromptTuning(AbstractTrainable):
    """Positive and negative prompts against the image features of the training rows.

    Parameters
    ----------
    images : ImageSide
        Features of N rows, with the parameters of a visual tuning.
    data : FitData
        The same rows; only labels and classes are looked at.
    positive, negative : PromptLearner
        The two contexts.
    warmup_epochs, warmup_loss, agreement
        See `DualPrompts`.
    """

    seen: torch.Tensor
    agreed: torch.Tensor

    def __init__(
        self,
        images: ImageSide,
        data: FitData,
        positive: PromptLearner,
        negative: PromptLearner,
        *,
        warmup_epochs: int,
        warmup_loss: str,
        agreement: bool,
    ):
        super().__init__()
        self.images = images
        self.positive = positive
        self.negative = negative
        self.backbone = images.backbone
        self.n_classes = data.n_classes
        self.warmup_epochs, self.warmup_loss = warmup_epochs, warmup_loss
        self.agreement = agreement
        self.labels = torch.as_tensor(data.labels, device=self.backbone.device)
        self.complementary = self.labels
        # The margin of each sample's given class at its last visit, in the loop's own view of it,
        # and whether it was the largest.
        self.register_buffer("seen", torch.zeros(len(data.labels), device=self.backbone.device))
        self.register_buffer("agreed", torch.zeros_like(self.seen, dtype=torch.bool))

    def logits_of(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Scaled similarities of features (B, D) to positive and negative prompts, (B, K)."""
        scale = self.backbone.logit_scale
        positive, negative = encode_together(self.backbone, [self.positive, self.negative])
        return cosines(scale * features, positive), cosines(scale * features.detach(), negative)

    def begin_epoch(self, epoch: int, generator: torch.Generator) -> None:
        """Draw the augmentation and the complementary labels of all rows."""
        self.images.begin_epoch(generator)
        self.complementary = complementary_labels(self.labels, self.n_classes, generator)

    def limit_gradients(self) -> None:
        """See `LONGEST_GRADIENT`."""
        torch.nn.utils.clip_grad_norm_(self.positive.context, LONGEST_GRADIENT)

    def step(self, rows: torch.Tensor, epoch: int, generator: torch.Generator) -> torch.Tensor:
        """L_dp + L_sim of a batch; its margins are kept in `seen` and `agreed`."""
        labels = self.labels[rows]
        positive, negative = self.logits_of(self.images(rows, generator))
        with torch.no_grad():
            margin = positive - negative
            self.seen[rows] = margin.gather(1, labels[:, None])[:, 0].float()
            self.agreed[rows] = margin.argmax(dim=1) == labels
        dual, similarity = dual_prompt_losses(
            positive,
            negative,
            labels,
            self.complementary[rows],
            warm_up=epoch < self.warmup_epochs,
            warmup_loss=self.warmup_loss,
            agreement=self.agreement,
        )
        return dual + similarity
