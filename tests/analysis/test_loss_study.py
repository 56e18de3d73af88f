"""The folder of `analyze losses`: data, figures, a page without requests, and its rules."""

import base64
import hashlib
import json
import re

import pandas as pd
import pytest
from PIL import Image

from labelsieve.analysis.loss_curves import loss_curves
from labelsieve.analysis.loss_study import analyze_losses
from labelsieve.core.exceptions import InputError

FIGURES = ("loss", "gradient", "gap", "scale", "classes")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    out = tmp_path_factory.mktemp("analysis") / "out"
    analyze_losses(out, losses=("dspt", "ce"), classes=(2, 100), command="labelsieve x <y>")
    return out


def test_data_round_trip(written):
    pd.testing.assert_frame_equal(
        pd.read_parquet(written / "data.parquet"), loss_curves(("dspt", "ce"), [2, 100])
    )
    assert set(pd.read_parquet(written / "saturation.parquet")["n_classes"]) == {2, 100}
    record = json.loads((written / "analysis.json").read_text())
    assert record["settings"]["losses"] == ["dspt", "ce"]
    assert record["seeds"] == [0]


def test_figures_are_there_and_inlined(written):
    html = (written / "index.html").read_text()
    for name in FIGURES:
        with Image.open(written / f"{name}.png") as image:
            assert min(image.size) > 300
        svg = (written / f"{name}.svg").read_bytes()
        assert base64.b64encode(svg).decode() in html


def test_the_page_asks_for_nothing_else(written):
    html = (written / "index.html").read_text()
    assert set(re.findall(r"(?:src|href)=(.{6})", html)) == {'"data:'}
    assert "<script" not in html
    style = re.search(r"<style>(.*?)</style>", html, re.S)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style.group(1).encode()).digest()).decode()
    assert f"sha256-{digest}" in html.replace("&#43;", "+")
    assert "default-src &#39;none&#39;" in html
    assert "labelsieve x &lt;y&gt;" in html
    assert "1 seed: 0" in html
    assert "0.120115" in html


def test_same_arguments_same_files(written, tmp_path):
    analyze_losses(
        tmp_path / "b", losses=("dspt", "ce"), classes=(2, 100), command="labelsieve x <y>"
    )
    for path in written.iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_rules_of_the_folder(written, tmp_path):
    with pytest.raises(InputError, match="holds an analysis; add --force"):
        analyze_losses(written)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file"):
        analyze_losses(tmp_path / "file")
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "a.png").touch()
    with pytest.raises(InputError, match="not of an analysis"):
        analyze_losses(tmp_path / "photos", force=True)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"losses": ("cee",)}, "unknown loss 'cee'.*Did you mean 'ce'"),
        ({"classes": (1,)}, "classes must be an integer in 2"),
        ({"scales": (0.0,)}, "scales must be a number"),
        ({"losses": ()}, "at least one loss"),
    ],
)
def test_bad_arguments(tmp_path, arguments, message):
    with pytest.raises(InputError, match=message):
        analyze_losses(tmp_path / "o", **arguments)
    assert not (tmp_path / "o").exists()
