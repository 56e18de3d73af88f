"""Train mini-glyph from scratch: ``python -m recipes.mini_glyph.train -o DIR``."""

import argparse
import json
import logging
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from transformers import CLIPModel

from .augment import Scene, make_scene
from .captions import Caption, covered_glyphs, truth_table, write_captions
from .card import write_card
from .evaluate import score_handwritten, score_held_out
from .fonts import GLYPHS, HELD_OUT_FONTS, TRAIN_FONTS
from .losses import anchor_loss, matching_loss
from .model import (
    build_model,
    encode_images,
    encode_texts,
    normalise,
    save_directory,
)
from .render import GlyphPool, render_pool
from .tokens import build_tokenizer

logger = logging.getLogger(__name__)

BATCH_SIZE = 256
CAPTIONS = 96
DIGIT_SHARE = 0.65
PEAK_RATE = 1.5e-3
MAX_LOGIT_SCALE = 100.0


def sampling_weights(glyphs: torch.Tensor) -> torch.Tensor:
    """Weigh the drawings so that glyphs are equally likely within digits and within letters."""
    count = torch.bincount(glyphs, minlength=62).clamp(min=1)
    group = torch.where(glyphs < 10, DIGIT_SHARE / 10, (1 - DIGIT_SHARE) / 52)
    return group / count[glyphs]


def learning_rate(step: int, steps: int) -> float:
    """Return the rate at a step: linear warm-up over a twentieth, then a cosine down to zero."""
    warm = max(1, steps // 20)
    if step < warm:
        return PEAK_RATE * (step + 1) / warm
    return PEAK_RATE * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def make_optimizer(model: CLIPModel, anchors: torch.Tensor) -> torch.optim.Optimizer:
    """Return AdamW that decays the model's matrices only."""
    matrices = [p for p in model.parameters() if p.ndim >= 2]
    others = [*(p for p in model.parameters() if p.ndim < 2), anchors]
    groups = [{"params": matrices, "weight_decay": 0.05}, {"params": others, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=PEAK_RATE, betas=(0.9, 0.98))


def batch_loss(
    model: CLIPModel, tokenizer, anchors: torch.Tensor, scene: Scene, captions: list[Caption]
) -> torch.Tensor:
    """Return the matching loss plus half the anchor losses of images and captions."""
    images = encode_images(model, normalise(scene.pixels))
    texts = encode_texts(model, tokenizer, [caption.text for caption in captions])
    scale = model.logit_scale.exp()
    shown = F.one_hot(scene.glyphs, len(GLYPHS))
    anchored = anchor_loss(images, anchors, shown, scale)
    anchored = anchored + anchor_loss(texts, anchors, covered_glyphs(captions), scale)
    return matching_loss(scale * images @ texts.T, truth_table(scene, captions)) + anchored / 2


def train(model: CLIPModel, tokenizer, pool: GlyphPool, *, steps: int, seed: int) -> None:
    """Train the model in place for a number of batches of fresh augmentations."""
    generator = torch.Generator().manual_seed(seed)
    rng = np.random.default_rng(seed)
    weights = sampling_weights(pool.glyphs)
    width = model.config.projection_dim
    anchors = torch.nn.Parameter(torch.randn(len(GLYPHS), width, generator=generator))
    optimizer = make_optimizer(model, anchors)
    model.train()
    for step in range(steps):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, steps)
        rows = torch.multinomial(weights, BATCH_SIZE, replacement=True, generator=generator)
        scene = make_scene(pool.fields[rows], pool.glyphs[rows], generator)
        captions = write_captions(scene, CAPTIONS, rng)
        loss = batch_loss(model, tokenizer, anchors, scene, captions)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        model.logit_scale.data.clamp_(max=math.log(MAX_LOGIT_SCALE))
        if step % 50 == 0:
            logger.info("step %d of %d, loss %.3f", step, steps, loss.item())
    model.eval()


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, help="directory to write")
    parser.add_argument("--steps", type=int, default=1000, help="batches to train on")
    parser.add_argument("--pool", type=int, help="use only this many drawings (smoke run)")
    parser.add_argument("--seed", type=int, default=0, help="decides everything random")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def describe_run(arguments: argparse.Namespace, drawings: int, minutes: float) -> dict:
    """Return what is needed to repeat the run, and how long it took."""
    command = f"python -m recipes.mini_glyph.train -o DIR --steps {arguments.steps}"
    return {
        "command": f"{command} --seed {arguments.seed} --threads {arguments.threads}",
        "steps": arguments.steps,
        "batch_size": BATCH_SIZE,
        "seed": arguments.seed,
        "drawings": drawings,
        "minutes": round(minutes, 1),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
    }


def main() -> None:
    """Render, train, save, evaluate."""
    arguments = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    start = time.perf_counter()
    pool = render_pool(TRAIN_FONTS, arguments.pool)
    tokenizer = build_tokenizer()
    model = build_model(tokenizer)
    parameters = sum(p.numel() for p in model.parameters())
    logger.info("%d drawings, %d parameters", len(pool), parameters)
    train(model, tokenizer, pool, steps=arguments.steps, seed=arguments.seed)
    minutes = (time.perf_counter() - start) / 60
    save_directory(model, tokenizer, arguments.output)
    metrics = {
        "parameters": parameters,
        "training": describe_run(arguments, len(pool), minutes),
        "held_out_fonts": score_held_out(model, tokenizer, render_pool(HELD_OUT_FONTS)),
        "handwritten_digits": score_handwritten(arguments.output),
    }
    (arguments.output / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    write_card(arguments.output / "README.md", metrics)
    logger.info("%s", json.dumps(metrics, indent=2))


if __name__ == "__main__":
    main()
