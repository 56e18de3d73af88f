"""The page in a real browser: keys, grid, conflicts, a killed server, hostile names."""

from __future__ import annotations

import re
import signal

import pytest
from pages import AWAY, command, decisions, saved

from browser import NEEDS_BROWSER

pytestmark = NEEDS_BROWSER


def worst(scan_folder, n):
    from labelsieve.detectors import LabelIssues

    return LabelIssues.load(scan_folder).worst(n).reset_index(drop=True)


def test_fifty_images_by_keyboard_survive_a_kill(scan_folder, open_page):
    """All rows are shown, worst first; the keys go through the five kinds of decision."""
    table, expected = worst(scan_folder, 50), {}
    with command(scan_folder) as (process, url):
        page = open_page(url, expected=AWAY)
        page.locator("#show-filters").click()
        page.locator("#f-scope").select_option("all")
        page.locator("#show-filters").click()
        page.locator("#where", has_text="80 in this list").wait_for()
        page.locator("#question").focus()
        for k, row in enumerate(table.itertuples()):
            page.locator(f".stage img[alt^='{row.file_name},']").wait_for()
            suggestion = row.suggested_label if row.is_label_issue else None
            if k % 5 == 0 and suggestion:
                page.keyboard.press("s")
                expected[row.id] = ("relabel", suggestion)
            elif k % 5 == 1:
                page.keyboard.press("d")
                expected[row.id] = ("drop", None)
            elif k % 5 == 2:
                other = "bird" if row.given_label == "fish" else "fish"
                page.keyboard.press("c")
                page.keyboard.type(other[:3])
                page.keyboard.press("Enter")
                expected[row.id] = ("relabel", other)
            elif k % 5 == 3:
                page.keyboard.press("u")
                expected[row.id] = ("unsure", None)
            else:
                page.keyboard.press("k")
                expected[row.id] = ("keep", row.given_label)
        saved(page)
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert decisions(scan_folder) == expected
    with command(scan_folder) as (_, again):
        assert again == url
        page = open_page(again, expected=AWAY)
        flagged = table["id"][table["is_label_issue"]]
        done = sum(expected[identifier][0] != "unsure" for identifier in flagged)
        assert len(flagged) == 20
        assert page.locator("#n-done").inner_text() == str(done)
        page.locator("#show-filters").click()
        page.locator("#f-state").select_option("relabel")
        page.locator(".stamp-relabel").wait_for()


PICK_AND_GO_ON = """async () => {
  const press = (key) => document.activeElement.dispatchEvent(
    new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
  press("Enter");
  for (let k = 0; k < 20; k += 1) await null;  // the next image is drawn, but no frame
  press("u");
}"""


def test_a_key_right_after_a_picked_class_is_not_lost(server, scan_folder, open_page):
    """Within one frame: the field of the closed dialog still has the focus."""
    page = open_page(server.url)
    page.keyboard.press("c")
    page.keyboard.type("fish")
    page.evaluate(PICK_AND_GO_ON)
    page.locator("#live", has_text="unsure. Next").wait_for()
    saved(page)
    assert sorted(decisions(scan_folder).values(), key=str) == [
        ("relabel", "fish"),
        ("unsure", None),
    ]


def test_what_a_dead_server_has_not_confirmed_waits_in_the_page(scan_folder, serve, open_page):
    with serve(scan_folder) as server:
        page = open_page(server.url, expected=AWAY)
        page.keyboard.press("k")
        saved(page)
    page.keyboard.press("d")
    page.locator("#saved", has_text="1 not saved").wait_for()
    assert [action for action, _ in decisions(scan_folder).values()] == ["keep"]
    with serve(scan_folder) as again:
        assert again.url == server.url, "an open page finds the new server"
        saved(page)
        assert sorted(action for action, _ in decisions(scan_folder).values()) == ["drop", "keep"]
        page.keyboard.press("z")
        page.locator("#n-done", has_text=re.compile("^1$")).wait_for()
        page.reload()
        page.locator("main[aria-busy=false] #question").wait_for()
        page.keyboard.press("z")  # undo reaches back over reload and restart
        page.locator("#n-done", has_text=re.compile("^0$")).wait_for()
        assert decisions(scan_folder) == {}


def test_conflicts_are_shown_and_solved(server, client, scan_folder, open_page):
    page = open_page(server.url, expected=["409"])
    row = int(page.locator(".stage img").get_attribute("src").split("/")[2])
    client.decide([{"row": row, "action": "drop", "version": 0}], reviewer="Bob")
    page.keyboard.press("k")
    notice = page.locator("#conflicts")
    notice.wait_for()
    assert "Bob has decided: dropped; you want: kept" in notice.inner_text()
    assert decisions(scan_folder) == {f"id-{row}": ("drop", None)}
    page.get_by_role("button", name="Use mine").click()
    notice.wait_for(state="hidden")
    saved(page)
    assert decisions(scan_folder) == {f"id-{row}": ("keep", "cat")}
    page.keyboard.press("ArrowLeft")
    page.locator("summary", has_text="Decided 2 times").click()
    page.get_by_role("button", name="Take the decision back").click()
    page.locator("#n-done", has_text=re.compile("^0$")).wait_for()
    assert decisions(scan_folder) == {}


def test_a_pair_is_decided_together_and_undone(server, scan_folder, open_page):
    page = open_page(server.url)
    page.keyboard.press("b")
    page.locator(".pair-open").first.click()
    page.locator(".card").first.wait_for()
    assert page.locator(".card").count() == 20
    assert page.locator("#view-grid h2").inner_text() == "Are these cat or dog?"
    page.locator(".card .face").nth(2).click()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("x")
    assert page.locator("#n-chosen").inner_text() == "2 selected"
    page.keyboard.press("s")
    saved(page)
    assert list(decisions(scan_folder).values()) == [("relabel", "dog")] * 2
    assert page.locator(".badge:not(:empty)").all_inner_texts() == ["dog", "dog"]
    page.keyboard.press("a")
    page.keyboard.press("k")
    page.locator("#n-done", has_text="20").wait_for()
    assert set(decisions(scan_folder).values()) == {("keep", "cat")}
    page.keyboard.press("z")
    page.locator("#n-done", has_text=re.compile("^2$")).wait_for()
    saved(page)
    assert list(decisions(scan_folder).values()) == [("relabel", "dog")] * 2


def test_a_finger_decides_and_swipes(server, scan_folder, open_page):
    """Real touch events: a swipe that the page must not lose to scrolling."""
    page = open_page(server.url, viewport={"width": 390, "height": 844}, has_touch=True)
    first = page.locator(".stage img").get_attribute("src")
    page.locator("[data-act=drop]").tap()
    page.locator(f".stage img:not([src='{first}'])").wait_for()
    saved(page)
    assert list(decisions(scan_folder).values()) == [("drop", None)]
    second = page.locator(".stage img").get_attribute("src")
    box = page.locator(".stage").bounding_box()
    y, touch = box["y"] + box["height"] / 2, page.context.new_cdp_session(page)
    for kind, x in [("touchStart", 300), *(("touchMove", x) for x in range(290, 90, -20))]:
        point = {"type": kind, "touchPoints": [{"x": x, "y": y}]}
        touch.send("Input.dispatchTouchEvent", point)
    touch.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    page.locator(f".stage img:not([src='{second}'])").wait_for()
    assert len(decisions(scan_folder)) == 1


def test_keys_can_be_listed_and_turned_off(server, scan_folder, open_page):
    page = open_page(server.url)
    page.keyboard.press("?")
    assert "keep the given label" in page.locator("#help").inner_text()
    page.locator("#help input").uncheck()
    page.keyboard.press("Escape")
    before = page.locator(".stage img").get_attribute("src")
    page.keyboard.press("k")
    page.keyboard.press("ArrowRight")
    page.locator(f".stage img:not([src='{before}'])").wait_for()
    assert decisions(scan_folder) == {}
    page.keyboard.press("ArrowLeft")
    page.get_by_role("button", name=re.compile("^Keep")).click()
    saved(page)
    assert len(decisions(scan_folder)) == 1


def test_hostile_names_are_text(hostile_folder, serve, open_page):
    with serve(hostile_folder, reviewer="<script>window.hacked = 1</script>") as server:
        page = open_page(server.url, expected=["404"], viewport={"width": 390, "height": 800})
        page.keyboard.press("c")
        page.keyboard.type("onerror")
        assert "<img src=x onerror" in page.locator("#picker-list").inner_text()
        page.keyboard.press("Enter")
        saved(page)
        for key, ready in (("b", ".pair-open"), ("g", ".card")):
            page.keyboard.press(key)
            page.locator(ready).first.wait_for()
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
        assert page.evaluate("window.hacked") is None
        assert page.locator("main script, main [onerror], [style*=url]").count() == 0


UNNAMED = """() => [...document.querySelectorAll('button, input, select, img')].filter((node) =>
  node.checkVisibility() && !(node.getAttribute('aria-label') || node.textContent.trim()
    || node.labels?.length || node.alt || node.tagName === 'IMG' && node.closest('button'))
).map((node) => node.outerHTML)"""


# 200 % zoom of a 1280 pixel wide window is a window of 640 CSS pixels
@pytest.mark.parametrize("size", [(640, 400), (390, 844), (320, 640), (1280, 800)])
def test_every_size_and_reader(server, open_page, size):
    page = open_page(
        server.url,
        viewport={"width": size[0], "height": size[1]},
        color_scheme="dark",
        reduced_motion="reduce",
    )
    for key, ready in ((None, ".signs"), ("g", ".card"), ("b", ".pair-open")):
        if key:
            page.keyboard.press(key)
        page.locator(ready).first.wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0], key
        unnamed = page.evaluate(UNNAMED)
        assert unnamed == []
    assert page.evaluate(
        "getComputedStyle(document.getElementById('track-fill')).transitionDuration"
    ) in ("0s", "")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(19, 22, 24)"
    page.locator("button[data-view=one]").click()
    page.locator("main[aria-busy=false] .acts").wait_for()
    page.keyboard.press("s")
    page.locator("#live", has_text="dog. Next: Given cat, suggested dog. undecided.").wait_for()


CONTRAST = """() => {
  const canvas = document.createElement('canvas').getContext('2d', {willReadFrequently: true});
  const light = (color) => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3).map((v) => {
      v /= 255; return v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; });
    return .2126 * r + .7152 * g + .0722 * b; };
  const ground = (node) => {
    const own = getComputedStyle(node).backgroundColor;
    const clear = /, 0\\)$|transparent/.test(own) && node.parentElement;
    return clear ? ground(node.parentElement) : own; };
  return [...document.querySelectorAll('body *')].filter((node) => node.checkVisibility()
      && [...node.childNodes].some((child) => child.nodeType === 3 && child.data.trim())
      && !node.closest(':disabled, .sr, .skip, option, select'))
    .map((node) => {
      const both = [light(getComputedStyle(node).color), light(ground(node))];
      const [a, b] = both.sort((x, y) => y - x);
      return [(a + 0.05) / (b + 0.05), node.outerHTML.slice(0, 120)]; })
    .filter(([ratio]) => ratio < 4.5);
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_is_legible(server, open_page, scheme):
    page = open_page(server.url, color_scheme=scheme)
    page.locator(".signs").wait_for()
    page.keyboard.press("k")
    page.keyboard.press("ArrowLeft")
    page.locator(".stamp-keep").wait_for()
    assert page.evaluate(CONTRAST) == []
