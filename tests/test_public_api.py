"""The public names, their documentation, and a page for each registered method."""

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import labelsieve
from labelsieve.detectors import DETECTORS
from labelsieve.losses import LOSSES
from labelsieve.tuners import TUNERS

DOCS = Path(__file__).resolve().parents[1] / "docs"


@pytest.mark.parametrize("name", labelsieve.__all__)
def test_every_public_name_is_there_and_documented(name):
    value = getattr(labelsieve, name)
    if not isinstance(value, labelsieve.core.registry.Registry):
        assert inspect.getdoc(value)
    assert name in dir(labelsieve)


def test_the_root_is_small_and_quick():
    assert len(labelsieve.__all__) <= 16
    code = "import sys, labelsieve; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'sift'"):
        labelsieve.sift  # noqa: B018


@pytest.mark.parametrize(
    ("folder", "name"),
    [
        (folder, name)
        for folder, registry in (("losses", LOSSES), ("tuners", TUNERS), ("detectors", DETECTORS))
        for name in registry.names()
    ],
)
def test_every_method_has_a_page(folder, name):
    text = (DOCS / folder / f"{name}.md").read_text(encoding="utf-8")
    for heading in ("## Idea", "## Formula", "## Source", "## When to use it", "## Example"):
        assert heading in text, f"{folder}/{name}.md lacks {heading!r}"
