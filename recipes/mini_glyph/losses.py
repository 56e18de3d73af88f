"""The two training losses, as pure functions of tensors."""

import torch


def matching_loss(logits: torch.Tensor, truth: torch.Tensor) -> torch.Tensor:
    """Return InfoNCE in both directions, the target spread evenly over all true pairs.

    Parameters
    ----------
    logits : Tensor of shape (images, captions)
    truth : bool Tensor of the same shape
        Whether the caption is true of the image. A row or column without any True is left out.
    """
    loss = logits.new_zeros(())
    for axis in (0, 1):
        total = truth.sum(dim=axis, keepdim=True)
        target = truth / total.clamp(min=1)
        entropies = -(target * logits.log_softmax(dim=axis)).sum(dim=axis)
        loss = loss + entropies.sum() / (total > 0).sum().clamp(min=1) / 2
    return loss


def anchor_loss(
    features: torch.Tensor, anchors: torch.Tensor, covered: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    """Return the cross-entropy of features against one learned anchor per glyph.

    Images and captions share the anchors, which get both towers off their initial plateau: each
    can learn to name glyphs before the other one can. The anchors are dropped after training.

    Parameters
    ----------
    features : Tensor of shape (n, projection), unit rows
    anchors : Tensor of shape (glyphs, projection)
    covered : Tensor of shape (n, glyphs)
        1 where the glyph is what the image shows, or one that the caption may mean.
    scale : scalar Tensor
        The logit scale.
    """
    logits = scale * features @ torch.nn.functional.normalize(anchors, dim=-1).T
    target = covered / covered.sum(dim=1, keepdim=True)
    return -(target * logits.log_softmax(dim=1)).sum(dim=1).mean()
