"""Prompt tuning: our step and a whole run against the textbook loop.

The towers have the shapes of CLIP ViT-B/32 and ViT-B/16 with random weights, which do not change
the speed. No download: a stand-in tokenizer gives every word one token with a random id, and names
have 1 to 4 words (mean 2.5), about as long as CIFAR-100's or ImageNet's in CLIP's own tokens.

The textbook loop is that of CoOp and its successors: at each step the image encoder on 32 images,
and the text encoder of transformers on all 77 positions of every prompt. Ours takes the image
features from an array and encodes each token once. Both give the same features and gradients. They
run in one process, interleaved, with the matrix products that measure the machine's peak. Our FLOP
are those that the shared-prefix method cannot avoid.

    python benchmarks/prompt_step.py [--rounds 3] [--threads 2] [--quick]
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from timing import entry, interleaved, peak_mib, peaks, products, save, seconds
from torch import Tensor
from torch.nn.functional import cross_entropy, normalize
from transformers import CLIPConfig, CLIPModel

from labelsieve.backbones.clip import ClipBackbone
from labelsieve.prompts import PromptLearner, encode_prompts

N_CONTEXT, WIDTH, LAYERS, START, END, BATCH = 16, 512, 12, 49406, 49407, 32
PATCHES = {"vit-b-32": 32, "vit-b-16": 16}
LAYOUTS: dict[str, dict[str, Any]] = {
    "middle": {"position": "middle"},
    "front": {"position": "front"},
    "class_specific": {"class_specific": True},
}


class WordTokenizer:
    """One token per word; the period is a word."""

    pad_token_id = END

    def __call__(
        self, text: str, add_special_tokens: bool = True, **_: object
    ) -> dict[str, list[int]]:
        """Ids of the words, with start and end token if asked."""
        words = text.replace(".", " .").split()
        ids = [269 if word == "." else 1000 + int(word, 36) % 40_000 for word in words]
        return {"input_ids": [START, *ids, END] if add_special_tokens else ids}


def build_backbone(
    patch: int = 32, layers: int = 12, device: str = "cpu", **text: int
) -> ClipBackbone:
    """CLIP's ViT-B shapes with random weights; `text` changes the text tower's."""
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    ids = {"bos_token_id": START, "eos_token_id": END, "pad_token_id": END}
    config = CLIPConfig(
        text_config={**ids, **text},
        vision_config={"patch_size": patch, "num_hidden_layers": layers},
        attn_implementation="sdpa",
    )
    torch.manual_seed(0)
    return ClipBackbone(
        CLIPModel(config).eval().requires_grad_(False).to(device),
        WordTokenizer(),
        CLIPImageProcessorPil(),
        model_id=f"random ViT-B/{patch}",
        commit="none",
        weights_hash=None,
        device=torch.device(device),
        dtype=torch.float32,
    )


def random_names(n_classes: int) -> list[str]:
    """Distinct names of 1 to 4 words."""
    draw = np.random.default_rng(0)
    words = [[f"c{k}", "red", "fox", "bay"][: 1 + k % 4] for k in range(n_classes)]
    draw.shuffle(words)
    return [" ".join(parts) for parts in words]


def necessary_flop(learner: PromptLearner) -> float:
    """FLOP that the shared-prefix method cannot avoid: linear layers, forward and backward.

    A token costs 24 d^2 per layer forward (6 d^2 for queries, keys and values) and as much
    backward, since frozen weights get no gradient. The last layer needs only keys and values
    (4 d^2) of all tokens, and the other 20 d^2 for the end tokens; the class tokens enter the
    first layer as constants, so their 6 d^2 have no backward there.
    """
    class_tokens = sum(end + 1 - learner.prefix_length for end in learner.ends)
    rows = learner.prefix_length + class_tokens
    one_way = 24 * rows * (LAYERS - 1) + 4 * rows + 20 * len(learner.ends)
    return (2.0 * one_way - 6 * class_tokens) * WIDTH**2


class Steps:
    """The steps of one problem: K classes, 32 images."""

    def __init__(self, backbone: ClipBackbone, n_classes: int, **layout: Any):
        draw = torch.Generator().manual_seed(1)
        self.backbone = backbone
        self.learner = PromptLearner(
            backbone, random_names(n_classes), n_context=N_CONTEXT, **layout
        )
        images = normalize(torch.randn(BATCH, backbone.embed_dim, generator=draw), dim=1)
        self.images = images.to(backbone.device)
        self.labels = torch.randint(n_classes, (BATCH,), generator=draw).to(backbone.device)

    def ours(self, half: bool = False, class_chunk: int | None = None) -> tuple[Tensor, Tensor]:
        """Text features and the gradient of the context."""
        with torch.autocast(self.backbone.device.type, torch.bfloat16, enabled=half):
            text = encode_prompts(
                self.backbone, self.learner, method="shared-prefix", class_chunk=class_chunk
            )
        return self._gradient(text)

    def textbook(self, half: bool = False) -> tuple[Tensor, Tensor]:
        """The same by transformers' tower on all 77 positions; image features are given."""
        with torch.autocast(self.backbone.device.type, torch.bfloat16, enabled=half):
            text = self.backbone.encode_embeddings(*self.learner(full_context=True))
        return self._gradient(text)

    def _gradient(self, text: Tensor) -> tuple[Tensor, Tensor]:
        loss = cross_entropy(100.0 * self.images @ text.T, self.labels)
        return text.detach(), torch.autograd.grad(loss, self.learner.context)[0]

    def differences(self) -> dict[str, float]:
        """Checks float32 against the textbook; says how far bfloat16 is off."""
        (slow, slow_gradient), (fast, gradient) = self.textbook(), self.ours()
        half, half_gradient = self.ours(half=True)
        scale = float(slow_gradient.abs().max())
        torch.testing.assert_close(fast, slow, atol=1e-5, rtol=0)
        torch.testing.assert_close(gradient / scale, slow_gradient / scale, atol=1e-4, rtol=0)
        return {
            "least_cosine": float((half * slow).sum(dim=1).min()),
            "gradient_error": float((half_gradient - slow_gradient).norm() / slow_gradient.norm()),
        }


def encode_pixels(backbone: ClipBackbone, pixels: Tensor) -> Tensor:
    """The image encoder of transformers."""
    with torch.no_grad():
        return normalize(backbone.model.get_image_features(pixel_values=pixels).pooler_output)


def run(classes: list[int], rounds: int, patches: dict[str, int]) -> dict[str, dict[str, Any]]:
    """Steps of every size, both precisions and all layouts."""
    backbones = {name: build_backbone(patch) for name, patch in patches.items()}
    backbone = next(iter(backbones.values()))
    pixels = torch.randn(BATCH, 3, 224, 224)
    steps = {k: Steps(backbone, k) for k in classes}
    plain = [k for k in classes if k <= 100]  # 1,000 need more memory than most machines have
    largest = max(plain)
    layouts = {name: Steps(backbone, largest, **LAYOUTS[name]) for name in LAYOUTS}
    off = {k: steps[k].differences() for k in plain}
    tasks: dict[str, tuple[Callable[[], object], int]] = dict(products())
    for k, step in steps.items():
        tasks[f"float32 {k}"] = (step.ours, 3 if k <= 100 else 1)
        tasks[f"bfloat16 {k}"] = (partial(step.ours, True), 3 if k <= 100 else 1)
    for name, step in layouts.items():
        tasks[name] = (step.ours, 1)
    for k in plain:
        tasks[f"text {k}"] = (steps[k].textbook, 1)
    for name, one in backbones.items():
        tasks[f"image {name}"] = (partial(encode_pixels, one, pixels), 1)
    times = interleaved(tasks, rounds)
    found, peak = {}, peaks(times)
    for k, step in steps.items():
        text = times[f"text {min(k, largest)}"]
        scaled = [t * max(1, k // largest) for t in text]
        for kind in ("float32", "bfloat16"):
            fast = times[f"{kind} {k}"]
            flop = necessary_flop(step.learner)
            more = {
                "share_of_peak": flop / statistics.median(fast) / peak[kind],
                "peak_gflop_per_second": peak[kind] / 1e9,
                "necessary_gflop": flop / 1e9,
                "textbook_text_extrapolated": k > largest,
            }
            if kind == "bfloat16":
                single = statistics.median(times[f"float32 {k}"])
                more["over_float32"] = single / statistics.median(fast)
                more |= off.get(k, {})
            for name in backbones:
                image = times[f"image {name}"]
                whole = [a + b for a, b in zip(image, scaled, strict=True)]
                found[f"prompt_step_{name}_{k}_{kind}"] = entry(whole, fast, **more)
    for name in layouts:
        found[f"prompt_text_{name}_{largest}"] = entry(times[f"text {largest}"], times[name])
    found[f"prompt_text_end_{largest}"] = entry(
        times[f"text {largest}"], times[f"float32 {largest}"]
    )
    return found


def whole_run(patch: int, epochs: int) -> dict[str, Any]:
    """16 shots, 10 classes: extraction and training, against as many textbook steps."""
    from extraction import Memory, photos

    from labelsieve.backbones import extract_features
    from labelsieve.tuners.coop import CoOp

    backbone, n_classes, shots = build_backbone(patch), 10, 16
    files = Memory(photos(n_classes * shots))
    labels = np.arange(n_classes * shots) % n_classes
    options = {"loss": "ce", "initial_text": None, "epochs": epochs, "batch_size": BATCH}
    tuner = CoOp(backbone, class_names=random_names(n_classes), **options)

    def ours() -> None:
        tuner.fit(extract_features(files, backbone, show=False), labels)

    steps, pixels = Steps(backbone, n_classes), torch.randn(BATCH, 3, 224, 224)

    def textbook() -> None:
        encode_pixels(backbone, pixels)
        steps.textbook()

    n_steps = epochs * -(-len(labels) // BATCH)
    textbook()
    step = [seconds(textbook) for _ in range(3)]
    fast = [seconds(ours)]
    return entry(
        [n_steps * t for t in step], fast, textbook_extrapolated_from_steps=len(step), steps=n_steps
    )


def many_classes(n_classes: int) -> dict[str, Any]:
    """One step with more classes than activations fit: its time and the memory of the process."""
    step = Steps(build_backbone(), n_classes)
    before, times = peak_mib(), [seconds(partial(step.ours, True))]
    cost = {"peak_mib": peak_mib(), "step_mib": peak_mib() - before, "precision": "bfloat16"}
    return {"seconds_fast": times[0], "classes": n_classes, **cost}


def main() -> None:
    """Run and save."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--many", type=int, help="only one step with so many classes")
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.many:
        save({f"prompt_memory_{arguments.many}": many_classes(arguments.many)})
        return
    if arguments.quick:
        save(run([10], 1, {"vit-b-32": 32}), quick=True)
        return
    found = run([10, 100, 1000], arguments.rounds, PATCHES)
    found["whole_run_vit-b-16_10"] = whole_run(16, epochs=50)
    save(found)


if __name__ == "__main__":
    main()
