"""Image classification models small enough for tests, in Hugging Face format."""

from __future__ import annotations

from pathlib import Path

import torch
import transformers as hf

VIT = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2,
    "image_size": 32, "patch_size": 8,
}  # fmt: skip
DECODER = {
    "decoder_hidden_size": 32, "decoder_num_hidden_layers": 1, "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 64,
}  # fmt: skip
SWIN = {"embed_dim": 8, "depths": [1, 1], "num_heads": [2, 2], "window_size": 4, "patch_size": 4}
STAGES = {"hidden_sizes": [8, 16], "depths": [1, 1]}
FAMILIES = {  # heads of five classes, other heads, and none
    "vit": lambda: hf.ViTForImageClassification(hf.ViTConfig(**VIT, num_labels=5)),
    "vit_mae": lambda: hf.ViTMAEForPreTraining(hf.ViTMAEConfig(**VIT, **DECODER)),
    "resnet": lambda: hf.ResNetForImageClassification(
        hf.ResNetConfig(embedding_size=8, layer_type="basic", num_labels=3, **STAGES)
    ),
    "convnext": lambda: hf.ConvNextForImageClassification(
        hf.ConvNextConfig(num_stages=2, image_size=32, num_labels=5, **STAGES)
    ),
    "swin": lambda: hf.SwinForImageClassification(
        hf.SwinConfig(image_size=32, num_labels=5, **SWIN)
    ),
    "dinov2": lambda: hf.Dinov2Model(hf.Dinov2Config(**VIT)),
}


def build_image_model(path: Path, family: str, seed: int = 0) -> Path:
    """Save a tiny model of a family with random weights, and its image processor."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = FAMILIES[family]()
    square = {"height": 32, "width": 32}
    if family in ("resnet", "convnext"):
        processor = hf.ConvNextImageProcessorPil(size={"shortest_edge": 32}, crop_pct=0.875)
    elif family == "dinov2":
        processor = hf.BitImageProcessorPil(size={"shortest_edge": 32}, crop_size=square)
    else:
        processor = hf.ViTImageProcessorPil(size=square)
    model.save_pretrained(path)
    processor.save_pretrained(path)
    return path
