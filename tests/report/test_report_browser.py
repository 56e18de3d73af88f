"""The page in a real browser: silent, offline, and doing what its controls say."""

from __future__ import annotations

import pandas as pd
import pytest

from browser import NEEDS_BROWSER
from labelsieve.report import write_report

pytestmark = NEEDS_BROWSER


@pytest.fixture
def open_page(browser):
    """Open a report; at the end there must have been no message and no request but for the file."""
    problems, pages = [], []

    def opened(path, **options):
        page = browser.new_page(**options)
        pages.append(page)
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on(
            "request",
            lambda request: (
                request.url.startswith(("file:", "data:")) or problems.append(request.url)
            ),
        )
        page.goto(path.resolve().as_uri())
        return page

    yield opened
    for page in pages:
        page.close()
    assert problems == []


def cards(page):
    return page.locator("#grid > li")


def test_filters_search_and_order(scan_folder, drawn_images, open_page):
    page = open_page(write_report(scan_folder, images=drawn_images(100)))
    assert cards(page).count() == 20
    assert page.locator("#grid img").count() == 20
    page.locator("#matrix-counts button").first.click()
    assert cards(page).count() == 5
    pairs = page.locator("#grid .pair").all_text_contents()
    assert {" ".join(pair.split()) for pair in pairs} == {"cat → suggested dog"}
    assert "5 of 20 match" in page.locator("#status").inner_text()
    page.locator("#clear").click()
    page.locator("#given").select_option("1")
    page.locator("#search").fill("/5.png")
    assert page.locator("#grid .file").all_inner_texts() == ["photos/5.png"]
    page.locator("#clear").click()
    page.locator("#order").select_option("best")
    assert page.locator("#grid .file").first.inner_text() == "photos/95.png"
    page.locator("#action").select_option("relabel")
    assert cards(page).count() == 20


def test_a_model_that_is_sure_of_the_given_label_is_not_sure_of_the_suggestion(
    scan_folder, drawn_images, open_page
):
    issues = pd.read_parquet(scan_folder / "issues.parquet")
    issues.loc[50, ["predicted_label", "action"]] = [issues["given_label"][50], "review"]
    issues.loc[50, "p_predicted"] = 0.999
    issues.to_parquet(scan_folder / "issues.parquet")
    page = open_page(write_report(scan_folder, images=drawn_images(100)))
    page.locator("#order").select_option("sure")
    files = page.locator("#grid .file").all_inner_texts()
    assert (files[0], files[-1]) == ("photos/0.png", "photos/50.png")


def test_detail_sorting_and_matrix_views(scan_folder, drawn_images, open_page):
    page = open_page(write_report(scan_folder, images=drawn_images(100)))
    page.locator("#grid .open").nth(1).click()
    assert "photos/5.png" in page.locator("#detail").inner_text()
    page.keyboard.press("ArrowRight")
    assert "photos/10.png" in page.locator("#detail").inner_text()
    page.keyboard.press("Escape")
    assert not page.locator("#detail").is_visible()
    header = page.locator(".sortable thead th").first
    header.locator("button").click()
    assert header.get_attribute("aria-sort") == "ascending"
    names = page.locator(".sortable tbody th").all_inner_texts()
    assert names == ["bird", "cat", "dog", "fish"]
    page.locator("button[data-view=rates]").click()
    assert page.locator("#matrix-rates").is_visible()
    assert not page.locator("#matrix-counts").is_visible()


def test_more_images_are_shown_on_request(big_folder, open_page):
    page = open_page(write_report(big_folder))
    assert cards(page).count() == 48
    page.locator("#more").click()
    assert cards(page).count() == 96
    assert "96 of 5,000 shown" in page.locator("#status").inner_text()


def test_hostile_names_are_text(hostile_folder, drawn_images, open_page):
    page = open_page(
        write_report(hostile_folder, images=drawn_images(60)),
        viewport={"width": 400, "height": 800},
    )
    assert page.evaluate("window.hacked") is None
    page.locator("#search").fill("<SCRIPT>")
    assert cards(page).count() > 0
    assert (
        "<script>"
        in page.locator("#grid .file").first.inner_text()
        + page.locator("#grid .pair").first.inner_text()
    )
    page.locator("#grid .open").first.click()
    assert page.evaluate("window.hacked") is None
    assert page.locator("#grid script, #detail script, #grid [onerror]").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 400


def test_theme_follows_the_system_and_the_button(scan_folder, open_page):
    path = write_report(scan_folder)
    ground = "getComputedStyle(document.body).backgroundColor"
    light = open_page(path, color_scheme="light")
    dark = open_page(path, color_scheme="dark")
    assert light.evaluate(ground) == "rgb(248, 248, 245)"
    assert dark.evaluate(ground) == "rgb(19, 22, 24)"
    dark.locator("#theme").click()
    assert dark.evaluate(ground) == "rgb(248, 248, 245)"


CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const rgb = (color) => {
    canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => {
      v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
  };
  const light = (color) => {
    const [r, g, b] = rgb(color);
    return .2126 * r + .7152 * g + .0722 * b; };
  return [1, 2, 3, 4, 5, 6].map((level) => {
    const cell = document.querySelector('.matrix td:not(.same)');
    cell.className = `h${level}`;
    const style = getComputedStyle(cell);
    const pair = [light(style.color), light(style.backgroundColor)].sort((a, b) => b - a);
    return (pair[0] + 0.05) / (pair[1] + 0.05);
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_heat_colours_are_legible(scan_folder, open_page, scheme):
    page = open_page(write_report(scan_folder), color_scheme=scheme)
    ratios = page.evaluate(CONTRAST)
    assert min(ratios) >= 4.5, ratios
