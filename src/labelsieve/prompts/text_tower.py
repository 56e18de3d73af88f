"""A trainable copy of the text tower's weights, which takes their place in a forward pass."""

from __future__ import annotations

from torch import Tensor, nn
from torch.func import functional_call

from ..backbones.base import AbstractBackbone, Tokens
from ..core.exceptions import InputError
from ..core.validation import check_number

PREFIXES = ("text_model.", "text_projection.")


class TextTower(nn.Module):
    """Own float32 copies of weights of the text tower; the backbone keeps its own.

    The copies stand in for the weights only while texts are encoded here, so values, order and
    `requires_grad` of the backbone's parameters never change.

    Parameters
    ----------
    backbone : AbstractBackbone
        Is not changed and not kept.
    partial : int, optional
        Copy only the last `partial` blocks; default is everything from the token embeddings to the
        projection.

    Attributes
    ----------
    copies : ParameterDict
        The trainable weights, by their name in the model with "/" for ".".

    Raises
    ------
    InputError
        If there are not that many blocks, or the model has no text tower of a known form.
    """

    def __init__(self, backbone: AbstractBackbone, *, partial: int | None = None):
        super().__init__()
        self.copies = nn.ParameterDict()
        for name in text_parameters(backbone, partial):
            weight = backbone.model.get_parameter(name)
            self.copies[name.replace(".", "/")] = nn.Parameter(weight.detach().float().clone())

    def weights(self) -> dict[str, Tensor]:
        """The copies by their name in the model."""
        return {name.replace("/", "."): weight for name, weight in self.copies.items()}

    def forward(self, backbone: AbstractBackbone, tokens: Tokens) -> Tensor:
        """Text features with the copies in place: (K, L) ids -> (K, D) float32, rows of length 1.

        Padding after the last read-out position is cut off where the tower is causal.
        """
        ids = tokens.ids[:, : int(tokens.end.max()) + 1] if backbone.causal else tokens.ids
        copies = {f"model.{name}": weight for name, weight in self.weights().items()}
        return functional_call(_Encoder(backbone), copies, (ids, tokens.end))


class _Encoder(nn.Module):
    """Token ids to features, as a module whose parameters are those of the backbone."""

    def __init__(self, backbone: AbstractBackbone):
        super().__init__()
        self.model, self.backbone = backbone.model, backbone

    def forward(self, ids: Tensor, end: Tensor) -> Tensor:
        return self.backbone.encode_embeddings(self.backbone.embed_tokens(ids), end)


def text_parameters(backbone: AbstractBackbone, partial: int | None = None) -> list[str]:
    """Names of the text tower's parameters, in the order of the model.

    Parameters
    ----------
    backbone : AbstractBackbone
        The model.
    partial : int, optional
        Only those of the last `partial` blocks.

    Raises
    ------
    InputError
        See `TextTower`.
    """
    names = [name for name, _ in backbone.model.named_parameters() if name.startswith(PREFIXES)]
    if not names:
        raise InputError(
            f"{backbone.model_id} has no text tower of a known form, so it cannot be trained; "
            "use a CLIP or SigLIP model of transformers"
        )
    if partial is None:
        return names
    blocks = "text_model.encoder.layers"
    n_blocks = len(backbone.model.get_submodule(blocks))  # type: ignore[arg-type]
    check_number(partial, name="partial", low=1, high=n_blocks, integer=True)
    chosen = tuple(f"{blocks}.{i}." for i in range(n_blocks - partial, n_blocks))
    return [name for name in names if name.startswith(chosen)]
