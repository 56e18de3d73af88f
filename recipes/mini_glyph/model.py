"""The network, and the Hugging Face directory it is kept in."""

import json
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast

from .augment import IMAGE_SIDE
from .tokens import CONTEXT_LENGTH

PIXEL_MEAN = PIXEL_STD = 0.5
_WIDTH = 128
_SHARED = {"hidden_size": _WIDTH, "intermediate_size": 4 * _WIDTH, "num_attention_heads": 4}


def build_model(tokenizer: PreTrainedTokenizerFast, *, patch_size: int = 8) -> CLIPModel:
    """Return an untrained mini CLIP for this tokenizer (seed torch before calling)."""
    ids = {
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    text = {
        **_SHARED,
        **ids,
        "vocab_size": len(tokenizer),
        "num_hidden_layers": 3,
        "max_position_embeddings": CONTEXT_LENGTH,
        "projection_dim": _WIDTH,
    }
    vision = {
        **_SHARED,
        "image_size": IMAGE_SIDE,
        "patch_size": patch_size,
        "num_hidden_layers": 4,
        "projection_dim": _WIDTH,
    }
    model = CLIPModel(CLIPConfig(text_config=text, vision_config=vision, projection_dim=_WIDTH))
    initialise(model)
    return model


@torch.no_grad()
def initialise(model: CLIPModel) -> None:
    """Draw fresh weights, wider than CLIP's own: narrow towers barely start to learn from those.

    Matrices have a standard deviation of one over the root of their inputs; those that write to
    the residual stream are damped by the root of twice the number of layers.
    """
    for tower in (model.text_model, model.vision_model):
        damping = (2 * tower.config.num_hidden_layers) ** -0.5
        for name, weight in tower.named_parameters():
            if "embedding" in name and "patch" not in name:
                weight.normal_(std=0.1)
            elif weight.ndim >= 2:
                writes = "out_proj" in name or "fc2" in name
                weight.normal_(std=weight[0].numel() ** -0.5 * (damping if writes else 1.0))
    for projection in (model.text_projection, model.visual_projection):
        projection.weight.normal_(std=projection.in_features**-0.5)


def normalise(pixels: torch.Tensor) -> torch.Tensor:
    """Scale pixels from [0, 1] to what the network reads, as the saved image processor does."""
    return (pixels - PIXEL_MEAN) / PIXEL_STD


def encode_images(model: CLIPModel, pixels: torch.Tensor) -> torch.Tensor:
    """Return unit image features of shape (n, projection) for normalised pixels."""
    pooled = model.vision_model(pixel_values=pixels).pooler_output
    return F.normalize(model.visual_projection(pooled), dim=-1)


def encode_texts(
    model: CLIPModel, tokenizer: PreTrainedTokenizerFast, texts: list[str], *, chunk: int = 64
) -> torch.Tensor:
    """Return unit text features of shape (len(texts), projection).

    Texts of like length are encoded together, since padding costs as much as words do.
    """
    ids = tokenizer(texts, truncation=True)["input_ids"]
    order = sorted(range(len(ids)), key=lambda row: len(ids[row]))
    features = []
    for start in range(0, len(order), chunk):
        rows = {"input_ids": [ids[row] for row in order[start : start + chunk]]}
        padded = tokenizer.pad(rows, return_tensors="pt")["input_ids"]
        features.append(model.text_model(input_ids=padded).pooler_output)
    back = torch.tensor(order).argsort()
    return F.normalize(model.text_projection(torch.cat(features)[back]), dim=-1)


def save_directory(
    model: CLIPModel,
    tokenizer: PreTrainedTokenizerFast,
    path: Path,
    *,
    mean: Sequence[float] = (PIXEL_MEAN,) * 3,
    std: Sequence[float] = (PIXEL_STD,) * 3,
) -> None:
    """Write configuration, float16 weights, tokenizer and image processor to a directory.

    The configuration says float32, so that the weights are widened again on loading.
    """
    side = model.config.vision_config.image_size
    path.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(path)
    config = {**model.config.to_diff_dict(), "architectures": ["CLIPModel"], "dtype": "float32"}
    (path / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    weights = {name: w.detach().half().contiguous() for name, w in model.state_dict().items()}
    save_file(weights, path / "model.safetensors", metadata={"format": "pt"})
    (path / "model.safetensors").chmod(0o644)
    processor = {
        "image_processor_type": "CLIPImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"shortest_edge": side},
        "resample": 3,
        "do_center_crop": True,
        "crop_size": {"height": side, "width": side},
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(mean),
        "image_std": list(std),
    }
    (path / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
