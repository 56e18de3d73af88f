"""`labelsieve analyze` from the command line, and its page in a browser."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from browser import NEEDS_BROWSER
from labelsieve.cli.main import app
from labelsieve.core.exceptions import InputError
from problems import write_colour_tree


def analyze(*arguments):
    return CliRunner().invoke(app, ["analyze", *map(str, arguments)])


@pytest.fixture(scope="module")
def losses(tmp_path_factory):
    out = tmp_path_factory.mktemp("cli") / "losses"
    flags = ("--losses", "dspt", "mae", "--classes", 2, 100, "--scales", 1, "100", "--seed", 3)
    result = analyze("losses", *flags, "-o", out)
    assert result.exit_code == 0, result.exception
    assert str(out / "index.html") in result.stdout
    return out


def test_flags_take_several_values(losses):
    record = json.loads((losses / "analysis.json").read_text())
    assert record["settings"] == {
        "losses": ["dspt", "mae"], "classes": [2, 100], "scales": [1.0, 100.0],
    }  # fmt: skip
    assert record["seeds"] == [3]
    assert set(pd.read_parquet(losses / "data.parquet")["loss"]) == {"dspt", "mae"}


def test_an_analysis_is_replaced_only_with_force(losses):
    result = analyze("losses", "-o", losses)
    assert isinstance(result.exception, InputError)
    assert "add --force" in str(result.exception)


def test_gradients_with_injected_noise(tmp_path, tiny_clip_dir):
    photos = write_colour_tree(tmp_path / "photos")
    flags = ("--losses", "ce", "--rate", 0.25, "--shots", 8, "--epochs", 1, "--param", "lr=0.01")
    result = analyze("gradients", photos, "--model", tiny_clip_dir, *flags, "-o", tmp_path / "o")
    assert result.exit_code == 0, result.exception
    groups = pd.read_parquet(tmp_path / "o" / "data.parquet")
    assert groups.groupby("group")["n"].unique().map(list).to_dict() == {
        "clean": [18],
        "noisy": [6],
    }


def test_class_tokens(tmp_path, tiny_clip_dir):
    photos = write_colour_tree(tmp_path / "photos")
    test = write_colour_tree(tmp_path / "test", seed=1)
    flags = ("--variants", "names", "shuffled", "--rates", 0, 0.5, "--seeds", 1, "--epochs", 1)
    where = ("--model", tiny_clip_dir, "--test", test, "-o", tmp_path / "o")
    result = analyze("class-tokens", photos, *flags, "--shots", 4, *where)
    assert result.exit_code == 0, result.exception
    cells = pd.read_parquet(tmp_path / "o" / "data.parquet")
    assert list(zip(cells["variant"], cells["rate"], strict=True)) == [
        ("names", 0.0), ("names", 0.5), ("shuffled", 0.0), ("shuffled", 0.5),
    ]  # fmt: skip


@pytest.fixture
def silent_page(browser):
    """A narrow page; at the end there must have been no message and no request but for the file."""
    problems = []
    page = browser.new_page(viewport={"width": 400, "height": 800})
    page.on("console", lambda message: problems.append(message.text))
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("request", lambda r: r.url.startswith(("file:", "data:")) or problems.append(r.url))
    yield page
    page.close()
    assert problems == []


@NEEDS_BROWSER[0]
@NEEDS_BROWSER[1]
def test_the_page_is_silent_and_shows_its_figures(losses, silent_page):
    silent_page.goto((losses / "index.html").resolve().as_uri())
    widths = silent_page.evaluate("[...document.images].map((image) => image.naturalWidth)")
    overflow = silent_page.evaluate("document.documentElement.scrollWidth - innerWidth")
    assert len(widths) == 5
    assert min(widths) > 300
    assert overflow <= 0
