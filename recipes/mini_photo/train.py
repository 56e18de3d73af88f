"""Train mini-photo from scratch: ``python -m recipes.mini_photo.train -o DIR --data FOLDER``."""

import argparse
import json
import logging
import math
import os
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
import transformers
from transformers import CLIPModel

from ..mini_glyph.losses import anchor_loss, matching_loss
from ..mini_glyph.model import encode_texts, save_directory
from ..mini_glyph.tokens import train_tokenizer
from .augment import MEAN, STD, augment
from .captions import Captions
from .data import read_photos
from .model import CONTEXT_LENGTH, build_model, encode_some_patches

logger = logging.getLogger(__name__)

BATCH_SIZE = 256
CAPTIONS = 64
VOCABULARY_SIZE = 2048
MATRIX_RATE, OTHER_RATE = 2e-3, 1e-3
WEIGHT_DECAY = 0.05
MAX_LOGIT_SCALE = 100.0
PATCH_SHARE = 0.5
WHOLE_IMAGES = 0.1
"""The last tenth of the steps sees whole images, as the finished model will."""


class Training:
    """A run that can be stopped and continued.

    Parameters
    ----------
    model : CLIPModel
    anchors : Parameter of shape (K, projection)
        Trained beside the model and dropped afterwards.
    steps : int
        Batches in all.
    """

    def __init__(self, model: CLIPModel, anchors: torch.nn.Parameter, steps: int):
        self.model, self.anchors, self.steps = model, anchors, steps
        layers = [*model.vision_model.encoder.parameters(), *model.text_model.encoder.parameters()]
        matrices = [p for p in layers if p.ndim == 2]
        taken = set(map(id, matrices))
        others = [p for p in [*model.parameters(), anchors] if id(p) not in taken]
        self.optimizers = [
            torch.optim.Muon(
                matrices, lr=1.0, weight_decay=WEIGHT_DECAY, adjust_lr_fn="match_rms_adamw"
            ),
            torch.optim.AdamW(others, lr=1.0, betas=(0.9, 0.98), weight_decay=0.0),
        ]
        self.peaks = (MATRIX_RATE, OTHER_RATE)
        self.step = 0

    def update(self, loss: torch.Tensor) -> None:
        """Take one step of both optimisers: warm-up over a twentieth, then a cosine to zero."""
        warm = max(1, self.steps // 20)
        cosine = 0.5 * (1 + math.cos(math.pi * (self.step - warm) / max(1, self.steps - warm)))
        share = (self.step + 1) / warm if self.step < warm else cosine
        for optimizer, peak in zip(self.optimizers, self.peaks, strict=True):
            optimizer.param_groups[0]["lr"] = share * peak
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_([*self.model.parameters(), self.anchors], 1.0)
        for optimizer in self.optimizers:
            optimizer.step()
        self.model.logit_scale.data.clamp_(max=math.log(MAX_LOGIT_SCALE))
        self.step += 1

    def save(self, path: Path) -> None:
        """Write everything that is needed to go on, atomically."""
        state = {
            "step": self.step,
            "model": self.model.state_dict(),
            "anchors": self.anchors.data,
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
        }
        part = path.with_suffix(".part")
        torch.save(state, part)
        os.replace(part, path)

    def load(self, path: Path) -> None:
        """Go on from a checkpoint."""
        state = torch.load(path, weights_only=True)
        self.step = state["step"]
        self.model.load_state_dict(state["model"])
        self.anchors.data.copy_(state["anchors"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)


def batch_loss(training: Training, tokenizer, captions: Captions, photos, seed: int):
    """Return the matching loss plus half the anchor losses of images and captions.

    Everything random of a step comes from its own number, so that a continued run draws the same.
    """
    model = training.model
    generator = torch.Generator().manual_seed(seed * 1_000_003 + training.step)
    rng = np.random.default_rng((seed, training.step))
    rows = torch.randint(len(photos.labels), (BATCH_SIZE,), generator=generator)
    pixels, labels = augment(photos.pixels[rows], generator), photos.labels[rows]
    whole = training.step >= (1 - WHOLE_IMAGES) * training.steps
    with torch.autocast("cpu", torch.bfloat16):
        share = 1.0 if whole else PATCH_SHARE
        images = encode_some_patches(model, pixels, share, generator)
        texts, truth = captions.draw(labels[:CAPTIONS].tolist(), rng)
        named = encode_texts(model, tokenizer, texts)
    images, named, scale = images.float(), named.float(), model.logit_scale.exp()
    shown = F.one_hot(labels, len(captions.names))
    anchored = anchor_loss(images, training.anchors, shown, scale)
    anchored = anchored + anchor_loss(named, training.anchors, truth.float(), scale)
    return matching_loss(scale * images @ named.T, truth[:, labels].T) + anchored / 2


def train(training: Training, tokenizer, captions: Captions, photos, seed: int, kept: Path) -> None:
    """Train to the end, with a checkpoint now and then."""
    training.model.train()
    start, first = time.perf_counter(), training.step
    while training.step < training.steps:
        loss = batch_loss(training, tokenizer, captions, photos, seed)
        training.update(loss)
        if training.step % 50 == 0 or training.step == training.steps:
            pace = (time.perf_counter() - start) / (training.step - first)
            text = "step %d of %d, loss %.3f, scale %.1f, %.2f s a step"
            scale = training.model.logit_scale.exp().item()
            logger.info(text, training.step, training.steps, loss.item(), scale, pace)
        if training.step % 200 == 0:
            training.save(kept)
    training.model.eval()


def parse_arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("-o", "--output", type=Path, required=True, help="directory to write")
    parser.add_argument("--data", type=Path, required=True, help="folder of the parquet files")
    parser.add_argument("--steps", type=int, default=2400, help="batches of 256 to train on")
    parser.add_argument("--width", type=int, default=256, help="of the image tower")
    parser.add_argument("--depth", type=int, default=6, help="layers of the image tower")
    parser.add_argument("--images", type=int, help="use only this many images (smoke run)")
    parser.add_argument("--seed", type=int, default=0, help="decides everything random")
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def main() -> None:
    """Read, train, save."""
    arguments = parse_arguments()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    arguments.output.mkdir(parents=True, exist_ok=True)
    photos = read_photos(arguments.data, arguments.images)
    captions = Captions(photos.names, photos.synonyms)
    corpus = captions.corpus(40, np.random.default_rng(arguments.seed))
    sizes = {"vocabulary": VOCABULARY_SIZE, "context": CONTEXT_LENGTH}
    tokenizer = train_tokenizer(corpus, **sizes, lowercase=True)
    model = build_model(tokenizer, width=arguments.width, depth=arguments.depth)
    anchors = torch.nn.Parameter(torch.randn(len(photos.names), arguments.width))
    training = Training(model, anchors, arguments.steps)
    kept = arguments.output / "checkpoint.pt"
    if kept.exists():
        training.load(kept)
    train(training, tokenizer, captions, photos, arguments.seed, kept)
    save_directory(model, tokenizer, arguments.output, mean=MEAN, std=STD)
    run = {key: value for key, value in vars(arguments).items() if key not in ("output", "data")}
    run |= {
        "parameters": sum(p.numel() for p in model.parameters()),
        "trained_on": ["tinyimagenet"],
    }
    run |= {"torch": torch.__version__, "transformers": transformers.__version__}
    (arguments.output / "training.json").write_text(json.dumps(run, indent=2) + "\n")
    kept.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
