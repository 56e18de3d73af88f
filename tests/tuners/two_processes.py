"""Fine-tunes in the processes of `torchrun`, as test_distributed.py does in one; writes results."""

import sys
from pathlib import Path

import torch

from labelsieve.data import load_images
from labelsieve.tuners.fine_tune import FineTune

# 33 rows in batches of 8: a last batch with fewer rows than processes.
COMMON = {"epochs": 3, "batch_size": 8, "warmup_epochs": 1}
SGD = {"optimizer": "sgd", "lr": 1e-2}
CASES = {
    "clip-ce": {"model": "clip", "lr": 1e-2},
    "clip-elr": {"model": "clip", "lr": 1e-2, "baseline": "elr", "accumulate": 2},
    "clip-lora-gmm": {"model": "clip", "visual_tuning": "lora", "baseline": "gmm", "lr": 1e-2},
    "clip-head": {"model": "clip", "visual_tuning": "none", "baseline": "sce", "lr": 1e-3},
    "vit-gmm": {"model": "vit", "baseline": "gmm", **SGD},
    "dinov2-ce": {"model": "dinov2", "optimizer": "adamw", "lr": 1e-4},
}
RUN_ONLY = {
    "resnet-gmm": {"model": "resnet", "baseline": "gmm", "lr": 1e-2},
    "clip-small-loss": {"model": "clip", "baseline": "small-loss", "noise_rate": 0.3},
    "swin-ce": {"model": "swin"},
}


def fit(root, name, accelerator=None, checkpoint=None):
    """Fit one case to the images below `root`."""
    given = dict({**CASES, **RUN_ONLY}[name])
    tuner = FineTune(str(root / given.pop("model")), **{**COMMON, **given})
    images = load_images(root / "photos")
    return tuner.fit(images, accelerator=accelerator, checkpoint=checkpoint)


def record(tuner):
    """What is compared: tensors, and the losses of the epochs."""
    losses = torch.tensor([epoch["loss"] for epoch in tuner.history_], dtype=torch.float64)
    return {**tuner.classifier_.state_dict(), "losses": losses}


def main(root):
    """Fit all cases and save what the main process has, and whether the others have the same."""
    from accelerate import Accelerator
    from accelerate.utils import gather

    accelerator = Accelerator(cpu=True, mixed_precision="no")
    for name in {**CASES, **RUN_ONLY}:
        found = record(fit(root, name, accelerator, root / "state" / name))
        again = record(fit(root, name, accelerator, root / "state" / name))  # restores the end
        for key, value in found.items():
            everywhere = gather(value[None].double())
            if name in CASES and not torch.equal(everywhere[0], everywhere[1]):
                raise SystemExit(f"{name}: {key} differs between the processes")
            if name in CASES and not torch.equal(again[key], value):
                raise SystemExit(f"{name}: {key} is not what the checkpoint holds")
        if accelerator.is_main_process:
            torch.save(found, root / f"{name}.pt")
    accelerator.end_training()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
