"""Layer 3: templates, learnable prompts, their encoder, and classifiers made of text."""

from .class_tokens import CLASS_TOKENS
from .classifier import TextClassifier
from .learner import POSITIONS, PromptLearner
from .templates import TEMPLATES
from .text_encoder import cosines, encode_prompts, encode_together
from .text_tower import TextTower
from .zero_shot import class_texts, resolve_templates, zero_shot_classifier

__all__ = [
    "CLASS_TOKENS",
    "POSITIONS",
    "TEMPLATES",
    "PromptLearner",
    "TextClassifier",
    "TextTower",
    "class_texts",
    "cosines",
    "encode_prompts",
    "encode_together",
    "resolve_templates",
    "zero_shot_classifier",
]
