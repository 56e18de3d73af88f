"""The names of the detectors."""

from __future__ import annotations

from ..core.registry import Registry

DETECTORS = Registry(
    "detector",
    {
        "latent-label": "labelsieve.detectors.latent_label:LatentLabel",
        "label-match": "labelsieve.detectors.label_match:LabelMatch",
        "small-loss": "labelsieve.detectors.small_loss:SmallLoss",
        "confident-learning": "labelsieve.detectors.confident_learning:ConfidentLearning",
        "knn": "labelsieve.detectors.knn:NeighbourVotes",
        "dual-prompts": "labelsieve.detectors.dual_prompts:DualPrompts",
    },
)

DEFAULT_DETECTOR = "latent-label"
