"""An open_clip model taken apart: towers, tokenizer and preprocessing in transformers' form."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

from ..core.exceptions import InputError

WEIGHT_AND_BIAS = ("weight", "bias")
ACTIVATIONS = {"QuickGELU": "quick_gelu", "GELU": "gelu"}


class Parts(nn.Module):
    """The two towers under the names that the rest of labelsieve knows."""

    def __init__(self, model: Any):
        super().__init__()
        self.vision_model = model.visual
        text = _text_tower(model)
        self.text_model, self.text_projection = text.text_model, text.text_projection
        self.logit_scale = nn.Parameter(model.logit_scale.detach().float().clone().reshape(()))
        bias, size = getattr(model, "logit_bias", None), model.visual.image_size
        width = int(model.text_projection.shape[1])
        eos = model.text_eos_id if model.text_pool_type == "eos" else None
        self.config = SimpleNamespace(
            model_type="open_clip",
            projection_dim=width,
            logit_bias=0.0 if bias is None else float(bias.detach()),
            vision_config=SimpleNamespace(
                image_size=size if isinstance(size, int) else size[0], hidden_size=width
            ),
            text_config=SimpleNamespace(
                hidden_size=model.token_embedding.weight.shape[1],
                max_position_embeddings=model.positional_embedding.shape[0],
                eos_token_id=eos,
            ),
        )


def _text_tower(model: Any) -> Any:
    """Transformers' CLIP text model with the weights of open_clip's."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    blocks = model.transformer.resblocks
    width = model.token_embedding.weight.shape[1]
    config = CLIPTextConfig(
        vocab_size=len(model.token_embedding.weight),
        hidden_size=width,
        intermediate_size=blocks[0].mlp.c_fc.out_features,
        num_hidden_layers=len(blocks),
        num_attention_heads=blocks[0].attn.num_heads,
        max_position_embeddings=len(model.positional_embedding),
        projection_dim=model.text_projection.shape[1],
        hidden_act=ACTIVATIONS[type(blocks[0].mlp.gelu).__name__],
        layer_norm_eps=model.ln_final.eps,
    )
    config._attn_implementation = "sdpa"
    with torch.random.fork_rng(devices=[]):  # the weights that it draws are replaced
        tower = CLIPTextModelWithProjection(config).float()
    state = {
        "text_model.embeddings.token_embedding.weight": model.token_embedding.weight,
        "text_model.embeddings.position_embedding.weight": model.positional_embedding,
        "text_model.final_layer_norm.weight": model.ln_final.weight,
        "text_model.final_layer_norm.bias": model.ln_final.bias,
        "text_projection.weight": model.text_projection.T,
    }
    for at, block in enumerate(blocks):
        state |= {f"text_model.encoder.layers.{at}.{k}": v for k, v in _block(block).items()}
    tower.load_state_dict({k: v.detach().float().clone() for k, v in state.items()})
    return tower


def _block(block: Any) -> dict[str, Tensor]:
    """The weights of one transformer block, under the names of transformers."""
    pairs = {
        "layer_norm1": block.ln_1,
        "layer_norm2": block.ln_2,
        "self_attn.out_proj": block.attn.out_proj,
        "mlp.fc1": block.mlp.c_fc,
        "mlp.fc2": block.mlp.c_proj,
    }
    found = {f"{k}.{kind}": getattr(v, kind) for k, v in pairs.items() for kind in WEIGHT_AND_BIAS}
    for kind in WEIGHT_AND_BIAS:
        thirds = getattr(block.attn, f"in_proj_{kind}").chunk(3)
        names = [f"self_attn.{letter}_proj.{kind}" for letter in "qkv"]
        found |= dict(zip(names, thirds, strict=True))
    return found


class Tokenizer:
    """open_clip's tokenizer, called like one of transformers."""

    pad_token_id = 0

    def __init__(self, tokenizer: Any):
        self.tokenizer = tokenizer
        self.eos_token_id = tokenizer.eot_token_id

    def __call__(
        self, text: str, add_special_tokens: bool = True, verbose: bool = False
    ) -> dict[str, list[int]]:
        ids = self.tokenizer.encode(text)
        if add_special_tokens:
            ids = [self.tokenizer.sot_token_id, *ids, self.tokenizer.eot_token_id]
        return {"input_ids": ids}


def image_processor(visual: Any, model_id: str) -> Any:
    """Transformers' CLIP preprocessing with open_clip's settings, on Pillow.

    Where an odd number of rows is to be cut off, open_clip's own crop may lie one pixel apart.

    Parameters
    ----------
    visual : Module
        The image tower, which carries open_clip's settings.
    model_id : str
        For the message.

    Raises
    ------
    InputError
        If images are resized in a way that it does not know.
    """
    from PIL import Image
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    settings = visual.preprocess_cfg
    mode = settings.get("resize_mode", "shortest")
    if mode not in ("shortest", "squash"):
        raise InputError(f"{model_id} resizes by {mode!r}; supported are 'shortest' and 'squash'")
    size = settings["size"]
    height, width = (size, size) if isinstance(size, int) else size[-2:]
    square = {"height": height, "width": width}
    ways = {"bicubic": Image.Resampling.BICUBIC, "bilinear": Image.Resampling.BILINEAR}
    return CLIPImageProcessorPil(
        size=square if mode == "squash" else {"shortest_edge": min(height, width)},
        do_center_crop=mode == "shortest",
        crop_size=square,
        resample=ways.get(settings.get("interpolation", "bicubic"), Image.Resampling.BICUBIC),
        image_mean=list(settings["mean"]),
        image_std=list(settings["std"]),
    )


def check_model(model: Any, tokenizer: Any, model_id: str) -> None:
    """Refuse a model that the adapter would silently compute wrongly.

    Raises
    ------
    InputError
        If its text tower is not CLIP's.
    """
    blocks = getattr(getattr(model, "transformer", None), "resblocks", ())
    known = (
        len(blocks) > 0
        and all(_is_plain(block) for block in blocks)
        and getattr(model, "text_pool_type", None) in ("argmax", "eos")
        and getattr(model, "attn_mask", None) is not None
        and isinstance(model.text_projection, nn.Parameter)
        and hasattr(tokenizer, "encode")
        and hasattr(tokenizer, "eot_token_id")
    )
    if not known:
        raise InputError(
            f"{model_id} has a text tower that is not CLIP's (causal, read out at its end token, "
            "with CLIP's tokenizer), which the adapter cannot run; look for the model in "
            "transformers' form (`clip` or `siglip`)"
        )


def _is_plain(block: Any) -> bool:
    """Whether a block is that of CLIP, without layer scale and other additions."""
    return (
        type(block).__name__ == "ResidualAttentionBlock"
        and isinstance(block.ls_1, nn.Identity)
        and type(block.mlp.gelu).__name__ in ACTIVATIONS
    )
