"""How fluid the review page is with 100,000 rows, in headless Chromium.

    python benchmarks/review_page.py [--rows 100000]

Prints seconds until each thing is shown. Needs `labelsieve[review]`, Playwright and Chromium.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "review"))
from conftest import make_issues, write_scan

KEYS = 60


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long a block took."""
    started = time.perf_counter()
    yield
    print(f"{what:32} {time.perf_counter() - started:7.3f} s", flush=True)


def make_scan(folder: Path, n_rows: int) -> Path:
    """A scan of n different image files in 100 classes."""
    classes, photos, buffer = [f"class {k}" for k in range(100)], folder / "photos", BytesIO()
    issues = make_issues(n_rows, classes)
    photos.mkdir()
    Image.new("RGB", (320, 240), (90, 120, 160)).save(buffer, "JPEG")
    for row in range(n_rows):  # what follows the end of a JPEG is not shown, but makes it another
        (photos / f"{row}.png").write_bytes(buffer.getvalue() + row.to_bytes(4, "big"))
    table = issues[["id", "file_name", "given_label"]].rename(columns={"given_label": "label"})
    table.to_csv(photos / "metadata.csv", index=False)
    (photos / "classes.json").write_text(json.dumps(classes))
    return write_scan(folder / "out", issues, classes, photos)


def measure(page, url: str) -> None:
    """Walk over the page."""
    with timed("first image"):
        page.goto(url)
        page.locator(".stage img").wait_for()
    seconds = []
    for _ in range(KEYS):
        name = page.locator(".stage img").get_attribute("alt").partition(",")[0]
        started = time.perf_counter()
        page.keyboard.press("k")
        page.locator(f".stage img:not([alt^='{name},'])").wait_for()
        seconds.append(time.perf_counter() - started)
    median, late = np.quantile(seconds, [0.5, 0.95])
    print(f"{'decision to next image':32} {median:7.3f} s median, {late:.3f} s at 95 %")
    with timed("grid"):
        page.keyboard.press("g")
        page.locator(".card").nth(47).wait_for()
    with timed("next page of the grid"):
        page.get_by_role("button", name="Next page").click()
        page.get_by_text("49–96 of").wait_for()
    for name, value in (("scope", "all"), ("order", "gain"), ("given", "16"), ("text", "99")):
        field = page.locator(f"#f-{name}")
        with timed(f"{name}: {value}"), page.expect_response(lambda r: "/api/rows?" in r.url):
            field.fill(value) if name == "text" else field.select_option(value)
    with timed("pairs"):
        page.locator("button[data-view=pairs]").click()
        page.locator(".pair-open").first.wait_for()


def main() -> None:
    """Measure once."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    from playwright.sync_api import sync_playwright

    folder = Path(tempfile.mkdtemp())
    out = make_scan(folder, parser.parse_args().rows)
    command = [sys.executable, "-m", "labelsieve", "review", str(out), "--no-browser", "-q"]
    with timed("start of the server"):
        server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        url = server.stdout.readline().strip()
    try:
        with sync_playwright() as driver:
            chromium = shutil.which("chromium") or shutil.which("google-chrome")
            browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            measure(browser.new_page(), url)
    finally:
        server.kill()
        server.wait()
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
