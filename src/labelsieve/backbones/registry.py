"""Model families by the `model_type` of their configuration."""

from __future__ import annotations

from ..core.registry import Registry

BACKBONES = Registry(
    "model type",
    {
        "clip": "labelsieve.backbones.clip:ClipBackbone",
        "siglip": "labelsieve.backbones.siglip:SiglipBackbone",
    },
)
