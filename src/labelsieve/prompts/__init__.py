"""Layer 3: templates, learnable prompts, their encoder, and classifiers made of text."""

from .class_tokens import CLASS_TOKENS
from .classifier import TextClassifier
from .learner import POSITIONS, PromptLearner
from .templates import TEMPLATES
from .text_encoder import encode_prompts
from .zero_shot import resolve_templates, zero_shot_classifier

__all__ = [
    "CLASS_TOKENS",
    "POSITIONS",
    "TEMPLATES",
    "PromptLearner",
    "TextClassifier",
    "encode_prompts",
    "resolve_templates",
    "zero_shot_classifier",
]
