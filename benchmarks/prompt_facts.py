"""What a ground offers before anything is tuned: a linear probe, and the gradients at the start."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from prompt_grounds import Ground

from labelsieve.losses import make_loss
from labelsieve.prompts import zero_shot_classifier

STARTS = ("ce", "dspt", "mae")


def probe(ground: Ground) -> dict[str, Any]:
    """A linear probe on the true labels of every training image: what the features allow."""
    from sklearn.linear_model import LogisticRegression

    scale = np.sqrt(ground.train.shape[1])
    model = LogisticRegression(C=1.0, max_iter=3000).fit(ground.train * scale, ground.truth)
    accuracy = model.score(ground.test * scale, ground.test_truth)
    return {
        "probe": round(float(accuracy), 5),
        "n_train": len(ground.train),
        "n_test": len(ground.test),
        "n_classes": len(ground.class_names),
        "logit_scale": ground.backbone.logit_scale,
    }


def start(ground: Ground) -> dict[str, Any]:
    """Zero-shot confidence, and gradients by the logits of right and of random wrong labels."""
    classifier = zero_shot_classifier(ground.backbone, ground.class_names)
    logits = classifier.logits(torch.as_tensor(ground.train)).double()
    n_classes, right = logits.shape[1], torch.as_tensor(ground.truth)
    away = np.random.default_rng(0).integers(1, n_classes, len(right))
    wrong = (right + torch.as_tensor(away)) % n_classes
    record = {"confidence": float(logits.softmax(dim=1).amax(dim=1).mean())}
    for loss in STARTS:
        for name, labels in (("right", right), ("wrong", wrong)):
            z = logits.clone().requires_grad_()
            (gradient,) = torch.autograd.grad(make_loss(loss)(z, labels).sum(), z)
            record[f"{loss} {name}"] = float(gradient.norm(dim=1).mean())
    return {name: round(value, 5) for name, value in record.items()}
