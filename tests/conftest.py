"""Fixtures for all tests: no network, no cache outside the test, one tiny CLIP."""

from __future__ import annotations

import os
from pathlib import Path

# Both are read when the libraries are imported, so they are set before.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["OMP_NUM_THREADS"] = "1"  # tiny models only lose by waiting; the figures are of one

import pytest

from browser import BROWSER, FLAGS
from tiny_clip import build_tiny_clip

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def isolation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep every test offline and away from the user's caches."""
    monkeypatch.setenv("LABELSIEVE_CACHE", str(tmp_path / "labelsieve-cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


@pytest.fixture(scope="session")
def shared_dir() -> Path:
    """The folder of real images and models beside the repository; skips where there is none."""
    path = Path(os.environ.get("LABELSIEVE_SHARED", ROOT.parent / "shared"))
    if not (path / "models").is_dir():
        pytest.skip("needs the shared images and models (LABELSIEVE_SHARED)")
    return path


@pytest.fixture(scope="session")
def tiny_clip_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny CLIP in Hugging Face format."""
    return build_tiny_clip(tmp_path_factory.mktemp("models") / "tiny-clip")


@pytest.fixture(scope="session")
def tiny_backbone(tiny_clip_dir: Path):
    """The tiny CLIP, loaded in float32 on the CPU."""
    from labelsieve.backbones import load_backbone

    return load_backbone(tiny_clip_dir, device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def browser():
    """Chromium, headless."""
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        running = driver.chromium.launch(executable_path=BROWSER, args=FLAGS)
        yield running
        running.close()
