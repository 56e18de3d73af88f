"""A SigLIP small enough for tests, in Hugging Face format, made without any download."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import SiglipConfig, SiglipModel
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from tiny_clip import build_tokenizer, spread_biases


def build_tiny_siglip(path: Path, seed: int = 0) -> Path:
    """Save a two-layer SigLIP with random weights, its tokenizer and its preprocessing."""
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(path)
    tower = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
    }
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 64, "projection_size": 32}
    config = SiglipConfig(
        text_config={**tower, **text},
        vision_config={**tower, "image_size": 32, "patch_size": 8},
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = SiglipModel(config)
        spread_biases(model)
        model.logit_scale.data.fill_(4.7)
        model.logit_bias.data.fill_(-16.5)
    model.save_pretrained(path)
    SiglipImageProcessorPil(size={"height": 32, "width": 32}).save_pretrained(path)
    return path
