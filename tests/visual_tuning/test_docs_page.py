"""The code on the page about visual tuning runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from helpers_visual import run, seed, shake

from labelsieve.visual_tuning import VISUAL_TUNINGS

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "visual-tuning.md").read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, flags=re.DOTALL)


def test_first_example(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    exec(BLOCKS[0], {})
    assert (tmp_path / "tuning.safetensors").is_file()


def test_a_method_of_your_own(backbone, pixels):
    package = "labelsieve.visual_tuning"  # where the page puts the file
    names = {"__name__": f"{package}.output_shift", "__package__": package}
    exec(BLOCKS[1], names)
    tuning = names["OutputShift"]().prepare(backbone, seed())
    plain = run(backbone, pixels)
    assert torch.equal(run(backbone, pixels, tuning), plain)
    assert not torch.equal(run(backbone, pixels, shake(tuning)), plain)
    assert torch.equal(run(backbone, pixels), plain)


@pytest.mark.parametrize("name", VISUAL_TUNINGS.names())
def test_every_method_is_in_the_table(name):
    row = next(line for line in PAGE.splitlines() if line.startswith("| ") and f"`{name}`" in line)
    method = VISUAL_TUNINGS.get(name)
    for parameter in method.parameter_names() if method else []:
        assert f"`{parameter}`" in row
    if method:
        assert row.split("|")[4].strip() == ("yes" if method.mergeable else "no")
