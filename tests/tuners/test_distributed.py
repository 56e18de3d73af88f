"""Two processes train to what one does."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from two_processes import CASES, RUN_ONLY, fit, record

from image_models import build_image_model
from problems import write_colour_tree
from tiny_clip import build_tiny_clip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Models, images, and what two processes made of them."""
    root = tmp_path_factory.mktemp("distributed")
    build_tiny_clip(root / "clip")
    for family in ("vit", "dinov2", "resnet", "swin"):
        build_image_model(root / family, family)
    write_colour_tree(root / "photos", per_class=11)
    script = Path(__file__).with_name("two_processes.py")
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port",
         "0", "--standalone", str(script), str(root)],
        capture_output=True, text=True, timeout=240, env=os.environ | {"OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    return root


@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one(name, root):
    two, one = torch.load(root / f"{name}.pt"), record(fit(root, name))
    assert two.keys() == one.keys()
    for key, value in one.items():
        torch.testing.assert_close(two[key], value, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("name", RUN_ONLY)
def test_batch_norms_dropout_and_selections_within_parts_stay_finite(name, root):
    assert all(torch.isfinite(value).all() for value in torch.load(root / f"{name}.pt").values())
