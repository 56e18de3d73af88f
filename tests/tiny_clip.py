"""A CLIP small enough for tests, in Hugging Face format, made without any download."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import CLIPConfig, CLIPModel, PreTrainedTokenizerFast
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

START, END = "<|startoftext|>", "<|endoftext|>"
OLD_EOS_ID = 2
END_OF_WORD = "</w>"
WORDS = (
    "a an the photo picture of one several small dark blurred drawing type this is in close up "
    "cat dog car truck fire sports sea lion red green blue circle square bird frog horse ship deer "
    "airplane automobile pet flower food texture satellite centered person doing maple tree"
)


def build_tiny_clip(
    path: Path, eos: int | None = None, seed: int = 0, image_size: int = 32
) -> Path:
    """Save a two-layer CLIP with random weights, its tokenizer and its preprocessing.

    Parameters
    ----------
    path : Path
        The directory to make.
    eos : int, optional
        End-of-text id in the configuration; default is the true one. 2 is what old CLIP configs
        carry, for which transformers reads out the largest id instead.
    seed : int
        Of the weights.
    image_size : int
        Side of the input images (patches have 8).
    """
    path.mkdir(parents=True, exist_ok=True)
    tokenizer = build_tokenizer()
    tokenizer.save_pretrained(path)
    end = tokenizer.eos_token_id if eos is None else eos
    text = {"vocab_size": len(tokenizer), "max_position_embeddings": 77}
    ids = {"bos_token_id": tokenizer.bos_token_id, "eos_token_id": end, "pad_token_id": end}
    tower = {
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "initializer_factor": 2.0,  # features of different inputs differ clearly
    }
    config = CLIPConfig(
        text_config={**tower, **text, **ids},
        vision_config={**tower, "image_size": image_size, "patch_size": 8},
        projection_dim=24,
        logit_scale_init_value=4.6052,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = CLIPModel(config)
        spread_biases(model)
    model.save_pretrained(path)
    CLIPImageProcessorPil(
        size={"shortest_edge": image_size}, crop_size={"height": image_size, "width": image_size}
    ).save_pretrained(path)
    return path


def spread_biases(model: torch.nn.Module) -> None:
    """Give biases and norms random values: at their initial 0 and 1 a mix-up would not show."""
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name or "bias" in name:
                weight.add_(0.1 * torch.randn_like(weight))


def build_tokenizer() -> PreTrainedTokenizerFast:
    """A byte-pair tokenizer of CLIP's kind; the words above are one token each."""
    merges = _merges(WORDS.split())
    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokens = [*letters, *(c + END_OF_WORD for c in letters), *map("".join, merges)]
    tokenizer = Tokenizer(
        models.BPE(
            vocab={token: at for at, token in enumerate(tokens)},
            merges=merges,
            end_of_word_suffix=END_OF_WORD,
            unk_token=END,
        )
    )
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Whitespace(), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.add_special_tokens([START, END])  # last, so the end token has the largest id
    start, end = tokenizer.token_to_id(START), tokenizer.token_to_id(END)
    tokenizer.post_processor = processors.RobertaProcessing(
        (END, end), (START, start), trim_offsets=False, add_prefix_space=False
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=START,
        eos_token=END,
        pad_token=END,
        unk_token=END,
        model_max_length=77,
    )


def _merges(words: list[str]) -> list[tuple[str, str]]:
    """Merges until every word is one token, the most frequent pair first.

    The trainer of `tokenizers` numbers the tokens in another order in every process, and with
    them the weights: each run would test another model.
    """
    split = [[*word[:-1], word[-1] + END_OF_WORD] for word in words]
    merges = []
    while pairs := Counter(pair for word in split for pair in pairwise(word)):
        merges.append(min(pairs, key=lambda pair: (-pairs[pair], pair)))
        split = [_merged(word, merges[-1]) for word in split]
    return merges


def _merged(word: list[str], pair: tuple[str, str]) -> list[str]:
    """A word with a pair joined wherever it stands."""
    done: list[str] = []
    for token in word:
        if done and (done[-1], token) == pair:
            done[-1] += token
        else:
            done.append(token)
    return done
