"""Both families of vision towers, and images for them."""

from __future__ import annotations

import pytest
import torch

from labelsieve.backbones import load_backbone
from tiny_siglip import build_tiny_siglip


@pytest.fixture(scope="session")
def tiny_siglip_dir(tmp_path_factory):
    return build_tiny_siglip(tmp_path_factory.mktemp("models") / "tiny-siglip")


@pytest.fixture(scope="session", params=["clip", "siglip"])
def model_dir(request, tiny_clip_dir, tiny_siglip_dir):
    return tiny_clip_dir if request.param == "clip" else tiny_siglip_dir


@pytest.fixture(scope="module")
def backbone(model_dir):
    return load_backbone(model_dir, device="cpu", dtype="float32")


@pytest.fixture
def pixels():
    return torch.randn(3, 3, 32, 32, generator=torch.Generator().manual_seed(5))
