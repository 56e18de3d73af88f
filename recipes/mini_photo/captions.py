"""Captions of Tiny-ImageNet classes, and which captions are true of which classes."""

from collections.abc import Sequence

import numpy as np
import torch

from .words import TEMPLATES, broader_words

_NAME, _SYNONYM = 0.5, 0.25
_PADDED = 0.2


class Captions:
    """Names that are true of a class, and sentences around them.

    Parameters
    ----------
    names : sequence of str, length K
        Class names, in the order of the labels.
    synonyms : dict of str to str
        Comma-separated synonyms of each class name.
    """

    def __init__(self, names: Sequence[str], synonyms: dict[str, str]):
        broader = broader_words()
        self.names = list(names)
        self.synonyms = [synonyms[name].split(", ") for name in names]
        self.broader = [[w for w, classes in broader.items() if n in classes] for n in names]
        self.covered = self._covered()
        self.padding = sorted({word for text in self.covered for word in text.split()})

    def _covered(self) -> dict[str, list[int]]:
        covered: dict[str, list[int]] = {}
        for label, name in enumerate(self.names):
            for text in {name, *self.synonyms[label], *self.broader[label]}:
                covered.setdefault(text.lower(), []).append(label)
        return covered

    def draw(
        self, labels: Sequence[int], rng: np.random.Generator
    ) -> tuple[list[str], torch.Tensor]:
        """Write a caption for each label.

        Returns
        -------
        list of str
        bool Tensor of shape (len(labels), K)
            The classes that each caption is true of.
        """
        texts, truth = [], torch.zeros(len(labels), len(self.names), dtype=torch.bool)
        for row, label in enumerate(labels):
            word = self._word(label, rng)
            truth[row, self.covered[word.lower()]] = True
            texts.append(self._pad(str(rng.choice(TEMPLATES)).format(word), rng))
        return texts, truth

    def _word(self, label: int, rng: np.random.Generator) -> str:
        draw = rng.random()
        if draw < _NAME:
            return self.names[label]
        if draw < _NAME + _SYNONYM or not self.broader[label]:
            return str(rng.choice(self.synonyms[label]))
        return str(rng.choice(self.broader[label]))

    def _pad(self, text: str, rng: np.random.Generator) -> str:
        """Put unrelated words before: prompt learners put free vectors there."""
        if rng.random() >= _PADDED:
            return text
        return " ".join([*rng.choice(self.padding, int(rng.integers(1, 11))), text])

    def corpus(self, repeats: int, rng: np.random.Generator) -> list[str]:
        """Write captions of every class, to train a tokenizer on."""
        labels = np.tile(np.arange(len(self.names)), repeats)
        return self.draw(labels.tolist(), rng)[0] + list(self.covered)
