"""From wrong labels to a corrected data set, with a real scan and a real browser."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from pages import AWAY, command, decisions, saved
from PIL import Image
from sklearn.datasets import load_digits

from browser import NEEDS_BROWSER
from labelsieve.data import load_images

pytestmark = [*NEEDS_BROWSER, pytest.mark.slow]
WORDS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
N = 300


def labelsieve(*arguments):
    subprocess.run([sys.executable, "-m", "labelsieve", *map(str, arguments)], check=True)


@pytest.fixture
def digits(tmp_path):
    """Handwritten digits, every fifth label replaced by the next class; and the right labels."""
    data, root = load_digits(), tmp_path / "photos"
    root.mkdir()
    given = np.where(np.arange(N) % 5 == 0, (data.target[:N] + 1) % 10, data.target[:N])
    for row, image in enumerate(data.images[:N]):
        Image.fromarray((image * 15.9).astype(np.uint8)).save(root / f"{row}.png")
    names = [f"{row}.png" for row in range(N)]
    table = pd.DataFrame({"file_name": names, "label": [WORDS[k] for k in given]})
    table.to_csv(root / "metadata.csv", index=False)
    (root / "classes.json").write_text(json.dumps(WORDS))
    return root, dict(zip(names, (WORDS[k] for k in data.target[:N]), strict=True))


def show_all(page):
    """Flagged or not: there is always a next image."""
    page.locator("#show-filters").click()
    page.locator("#f-scope").select_option("all")
    page.locator(".stage img").wait_for()
    page.locator("#question").focus()


def stage(page):
    """File name and given label of the image that is shown."""
    alt = page.locator(".stage img").get_attribute("alt")
    return re.fullmatch(r"(.*), given label (.*)", alt).groups()


def review(page, truth, n):
    """Decide about n images by keyboard, as somebody who knows the right labels."""
    for _ in range(n):
        name, given = stage(page)
        if truth[name] == given:
            page.keyboard.press("k")
        else:
            page.keyboard.press("c")
            page.keyboard.type(truth[name])
            page.keyboard.press("Enter")
        page.locator(f".stage img:not([alt^='{name},'])").wait_for()
    saved(page)


def test_review_kill_refit_apply_and_scan_again(digits, tmp_path, open_page):
    (photos, truth), out = digits, tmp_path / "out"
    before = {path.name: path.read_bytes() for path in photos.iterdir()}
    labelsieve("scan", photos, "-o", out, "--model", "mini-glyph", "--tuner", "zero-shot")
    with command(out) as (process, url):
        page = open_page(url, expected=AWAY)
        show_all(page)
        review(page, truth, 50)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert len(decisions(out)) == 50
    with command(out) as (_, again):
        assert again == url
        page = open_page(again, expected=AWAY)
        show_all(page)
        page.get_by_role("button", name="Refit with the decisions").click()
        review(page, truth, 3)  # deciding goes on meanwhile
        done = page.locator("#refit-text", has_text="the list and the estimates use the new scan")
        done.wait_for(timeout=300_000)
        summary = json.loads((out / "summary.json").read_text())
        assert summary["decisions"]["n"] in range(50, 54)
        held = pd.read_csv(out / "decisions.csv")["id"]
        progress = page.evaluate("fetch('/api/progress').then((answer) => answer.json())")
        assert progress["n_decided"] == 53
        assert progress["n_flagged"] == summary["n_label_issues"]
        issues = pd.read_parquet(out / "issues.parquet").set_index("id")
        name, given = stage(page)
        assert issues.loc[name, "given_label"] == given
        assert name not in set(held)
        page.keyboard.press("k")
        saved(page)
    decided = decisions(out)
    assert len(decided) == 54
    labelsieve("apply", out, "-o", tmp_path / "clean")
    clean = load_images(tmp_path / "clean")
    labels = dict(zip(clean.ids, (clean.class_names[k] for k in clean.given_labels), strict=True))
    for identifier, (action, label) in decided.items():
        kept = issues.loc[identifier, "given_label"]
        assert labels[identifier] == (label if action == "relabel" else kept)
    labelsieve("scan", photos, "-o", tmp_path / "out2", "--decisions", out,
               "--model", "mini-glyph", "--tuner", "zero-shot")  # fmt: skip
    again = pd.read_parquet(tmp_path / "out2" / "issues.parquet").set_index("id")
    for identifier, (action, label) in decided.items():
        assert again.loc[identifier, "action"] == action
        if action == "relabel":
            assert again.loc[identifier, "suggested_label"] == label
    with command(tmp_path / "out2") as (_, url):
        page = open_page(url, expected=AWAY)
        assert page.evaluate("fetch('/api/progress').then((a) => a.json())")["n_decided"] == 54
    with sqlite3.connect(out / "decisions.sqlite") as db:
        assert db.execute("SELECT count(*) FROM history").fetchone() == (54,)
    db.close()
    assert {path.name: path.read_bytes() for path in photos.iterdir()} == before
