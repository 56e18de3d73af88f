"""The tokenizer: byte-level BPE over the recipe's own captions and some common words."""

import numpy as np
from tokenizers import (
    Tokenizer,
    decoders,
    models,
    normalizers,
    pre_tokenizers,
    processors,
    trainers,
)
from transformers import PreTrainedTokenizerFast

from .captions import COLOURS, DIGIT_NAMES, WORDS, write_caption
from .fonts import GLYPHS

CONTEXT_LENGTH = 32
VOCABULARY_SIZE = 1024
BOS, EOS, PAD = "<|startoftext|>", "<|endoftext|>", "<|pad|>"


def build_tokenizer(seed: int = 0) -> PreTrainedTokenizerFast:
    """Train the tokenizer of mini-glyph; case is kept ("b" and "B" are different glyphs)."""
    return train_tokenizer(_corpus(seed), vocabulary=VOCABULARY_SIZE, context=CONTEXT_LENGTH)


def train_tokenizer(
    corpus: list[str], *, vocabulary: int, context: int, lowercase: bool = False
) -> PreTrainedTokenizerFast:
    """Train a byte-level tokenizer on a corpus.

    Every byte has a token, so any text can be encoded. The end token has the highest id, so both of
    the rules by which CLIP finds it agree.
    """
    tokenizer = Tokenizer(models.BPE())
    if lowercase:
        tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary - 3,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    tokenizer.add_special_tokens([PAD, BOS, EOS])
    ends = [(token, tokenizer.token_to_id(token)) for token in (BOS, EOS)]
    tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{BOS} $A {EOS}", pair=f"{BOS} $A $B {EOS}", special_tokens=ends
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token=BOS,
        eos_token=EOS,
        pad_token=PAD,
        model_max_length=context,
        clean_up_tokenization_spaces=False,
    )


def _corpus(seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    glyphs = rng.integers(len(GLYPHS), size=4000)
    colours = rng.integers(len(COLOURS), size=(4000, 2))
    captions = [write_caption(g, *c, rng).text for g, c in zip(glyphs, colours, strict=True)]
    return captions + 50 * [" ".join([*DIGIT_NAMES, *COLOURS, *WORDS])]
