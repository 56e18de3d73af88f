"""Attention in bfloat16 on the CPU, with its backward pass: torch's fused kernel, and ours.

One attention of one layer, at the token counts of CLIP's towers: 50, 197 and 257 patches, 77 tokens
of text, 65 patches of a small tower. Both are called in turns; the outputs differ by rounding.

    python benchmarks/cpu_attention.py [--rounds 20] [--quick]
"""

from __future__ import annotations

import argparse
from typing import Any

import torch
from timing import entry, interleaved, save
from torch.nn.functional import scaled_dot_product_attention

from labelsieve.tuners.training import quick_attention

# Images or prompts, heads, tokens; a head is 64 wide.
SHAPES = {
    "vit-b-32": (32, 12, 50),
    "vit-b-16": (32, 12, 197),
    "vit-l-14": (16, 16, 257),
    "text": (32, 8, 77),
    "small": (64, 3, 65),
}


def compare(shape: tuple[int, int, int], rounds: int) -> dict[str, Any]:
    """Times of both, and how far apart their gradients are, relative to the largest entry."""
    images, heads, tokens = shape
    generator = torch.Generator().manual_seed(0)
    size = (3, images, tokens, heads, 64)
    # As the towers lay them out: the heads of a token lie beside each other.
    parts = torch.randn(size, generator=generator).bfloat16().transpose(2, 3).requires_grad_()
    weight = torch.randn(size[1:], generator=generator).bfloat16().transpose(1, 2)

    def fused() -> torch.Tensor:
        output = scaled_dot_product_attention(*parts.unbind())
        return torch.autograd.grad(output, parts, weight)[0]

    def plain() -> torch.Tensor:
        with quick_attention("cpu", torch.bfloat16):
            return fused()

    error = (plain() - fused()).abs().max() / fused().abs().max()
    times = interleaved({"fused": (fused, 1), "plain": (plain, 1)}, rounds)
    return entry(times["fused"], times["plain"], gradient_error=float(error))


def main() -> None:
    """Measure, print, keep."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--quick", action="store_true", help="three rounds; nothing is kept")
    arguments = parser.parse_args()
    rounds = 3 if arguments.quick else arguments.rounds
    found = {f"cpu_attention_{name}": compare(shape, rounds) for name, shape in SHAPES.items()}
    for name, result in found.items():
        print(f"{name:<28}{result['ratio']:>6.1f}x  gradient off by {result['gradient_error']:.1%}")
    save(found, quick=arguments.quick)


if __name__ == "__main__":
    main()
