"""Layer 2: model families over transformers, loading, image features and their cache."""

from .base import AbstractBackbone, Tokens
from .cache import CacheEntry, FeatureCache
from .features import ImageFeatures, extract_features
from .loading import load_backbone
from .registry import BACKBONES
from .views import augmented_features

__all__ = [
    "BACKBONES",
    "AbstractBackbone",
    "CacheEntry",
    "FeatureCache",
    "ImageFeatures",
    "Tokens",
    "augmented_features",
    "extract_features",
    "load_backbone",
]
