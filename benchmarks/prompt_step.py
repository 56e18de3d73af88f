"""Prompt step: forward and backward of 100 prompts, shared prefix against the plain computation.

The text tower has the shape of CLIP ViT-B/32's (12 layers, width 512, 8 heads, context 77) with
random weights, in float32; 100 class names, 16 context tokens. No download: a stand-in tokenizer
gives every word one token with a random id, and names have 1 to 4 words (mean 2.5), about as long
as CIFAR-100's or ImageNet's in CLIP's own tokens. "Plain" is the tower of transformers on all
77 positions of every prompt, as CoOp and its successors compute it. Both run in one process,
interleaved, and must agree; times are medians. On a machine that others use, wall times of the
many short kernels suffer most: use one thread and read the processor times.

    python benchmarks/prompt_step.py [--repeats 5] [--threads 2]
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from transformers import CLIPConfig, CLIPModel

from labelsieve.backbones.clip import ClipBackbone
from labelsieve.prompts import PromptLearner, encode_prompts

N_CLASSES, N_CONTEXT, WIDTH, LAYERS, START, END = 100, 16, 512, 12, 49406, 49407
PEAK_SIZE = 2048
RESULTS = Path(__file__).parent / "latest.json"


class WordTokenizer:
    """One token per word; the period is a word."""

    pad_token_id = END

    def __call__(self, text: str, add_special_tokens: bool = True) -> dict[str, list[int]]:
        """Ids of the words, with start and end token if asked."""
        words = text.replace(".", " .").split()
        ids = [269 if word == "." else 1000 + int(word, 36) % 40_000 for word in words]
        return {"input_ids": [START, *ids, END] if add_special_tokens else ids}


def build_backbone() -> ClipBackbone:
    """ViT-B/32's text tower with random weights, and a vision tower of no size."""
    text = {"bos_token_id": START, "eos_token_id": END, "pad_token_id": END}  # the rest is default
    vision = {"hidden_size": 8, "intermediate_size": 8, "num_hidden_layers": 1}
    config = CLIPConfig(
        text_config=text,
        vision_config={**vision, "num_attention_heads": 1, "image_size": 32},
        attn_implementation="sdpa",
    )
    torch.manual_seed(0)
    model = CLIPModel(config).eval().requires_grad_(False)
    return ClipBackbone(
        model,
        WordTokenizer(),
        None,
        model_id="random ViT-B/32 text tower",
        commit="none",
        weights_hash=None,
        device=torch.device("cpu"),
        dtype=torch.float32,
    )


def random_names(n_classes: int = N_CLASSES) -> list[str]:
    """Distinct names of 1 to 4 words."""
    draw = np.random.default_rng(0)
    words = [[f"c{k}", "red", "fox", "bay"][: 1 + k % 4] for k in range(n_classes)]
    draw.shuffle(words)
    return [" ".join(parts) for parts in words]


def seconds(step: Callable[[], object]) -> tuple[float, float]:
    """Wall time and processor time of one call."""
    wall, processor = time.perf_counter(), time.process_time()
    step()
    return time.perf_counter() - wall, time.process_time() - processor


def median(times: list[tuple[float, float]], which: int) -> float:
    """Median of the wall times (0) or processor times (1)."""
    return statistics.median(pair[which] for pair in times)


def matmul(size: int = PEAK_SIZE) -> Callable[[], Tensor]:
    """A large float32 matrix product, for the peak."""
    a, b = torch.randn(size, size), torch.randn(size, size)
    return lambda: a @ b


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


def run(repeats: int) -> dict[str, float]:
    """Check equality, then time both methods."""
    backbone = build_backbone()
    learner = PromptLearner(backbone, random_names(), n_context=N_CONTEXT)
    target = torch.randn(N_CLASSES, backbone.embed_dim, generator=torch.Generator().manual_seed(1))

    def plain() -> Tensor:
        return backbone.encode_embeddings(*learner(full_context=True))

    def fast() -> Tensor:
        return encode_prompts(backbone, learner, method="shared-prefix")

    def step(method: Callable[[], Tensor]) -> tuple[Tensor, Tensor]:
        features = method()
        (gradient,) = torch.autograd.grad((features * target).sum(), learner.context)
        return features.detach(), gradient

    (slow_features, slow_gradient), (features, gradient) = step(plain), step(fast)
    torch.testing.assert_close(features, slow_features, atol=1e-5, rtol=0)
    scale = float(slow_gradient.abs().max())
    torch.testing.assert_close(gradient / scale, slow_gradient / scale, atol=1e-5, rtol=0)

    product = matmul()
    plain_times, fast_times, peak_times = [], [], []
    for _ in range(repeats):
        plain_times.append(seconds(lambda: step(plain)))
        fast_times += [seconds(lambda: step(fast)) for _ in range(5)]
        peak_times += [seconds(product) for _ in range(5)]
    return summary(plain_times, fast_times, peak_times, necessary_flop(learner))


def summary(plain: list, fast: list, peak: list, flop: float) -> dict[str, float]:
    """Ratios and shares from the measured (wall, processor) times."""
    peak_wall, peak_processor = (2 * PEAK_SIZE**3 / median(peak, which) for which in (0, 1))
    return {
        "ratio": median(plain, 0) / median(fast, 0),
        "seconds_plain": median(plain, 0),
        "seconds_fast": median(fast, 0),
        "share_of_peak": flop / median(fast, 0) / peak_wall,
        "processor_ratio": median(plain, 1) / median(fast, 1),
        "processor_seconds_plain": median(plain, 1),
        "processor_seconds_fast": median(fast, 1),
        "processor_share_of_peak": flop / median(fast, 1) / peak_processor,
        "necessary_gflop": flop / 1e9,
        "threads": torch.get_num_threads(),
        "repeats": len(plain),
        "load_average": os.getloadavg()[0],
    }


def save(result: dict[str, float]) -> None:
    """Put the result into latest.json beside the results of other benchmarks."""
    known = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.is_file() else {}
    known["prompt_step"] = {name: round(value, 4) for name, value in result.items()}
    RESULTS.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")


def main() -> None:
    """Run, print the table, write latest.json."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    result = run(arguments.repeats)
    save(result)
    print("forward + backward of 100 prompts, float32, results equal to 1e-5")
    print(f"{'method':<24}{'wall s':>9}{'ratio':>8}{'processor s':>14}{'ratio':>8}")
    for name, key in (("plain, 77 positions", "plain"), ("shared prefix", "fast")):
        wall, processor = result[f"seconds_{key}"], result[f"processor_seconds_{key}"]
        gains = result["seconds_plain"] / wall, result["processor_seconds_plain"] / processor
        print(f"{name:<24}{wall:>9.3f}{gains[0]:>8.1f}{processor:>14.3f}{gains[1]:>8.1f}")
    print(
        f"{result['necessary_gflop']:.0f} GFLOP necessary: {result['share_of_peak']:.0%} of the "
        f"measured matmul peak by wall time, {result['processor_share_of_peak']:.0%} by processor "
        f"time; {result['threads']} threads, load average {result['load_average']:.1f}"
    )


if __name__ == "__main__":
    main()
