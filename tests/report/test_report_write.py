"""The written page: numbers, caps, escaping, size, errors."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
import time

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from labelsieve.core.exceptions import InputError
from labelsieve.report import scan_folder as scan_folder_module
from labelsieve.report import write_report
from labelsieve.report.counts import MAX_ROWS, MAX_UNREADABLE, flagged_rows
from labelsieve.report.scan_folder import FILES, read_scan


def payload_of(path):
    html = path.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="payload">(.*?)</script>', html, re.S)
    assert found is not None
    return json.loads(found.group(1))


def text_of(path):
    """The page's text without tags, scripts and styles, with single spaces."""
    html = re.sub(r"<(script|style).*?</\1>", "", path.read_text(encoding="utf-8"), flags=re.S)
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


def test_headline_states_counts_rates_and_that_they_are_estimates(scan_folder):
    text = text_of(write_report(scan_folder))
    assert "20 of 99 labels look wrong" in text
    assert "Estimated noise rate 21.0% 90% interval 19.0% to 23.4%" in text
    assert "About 16 of the 20 flagged labels (80.0%) should be truly wrong." in text
    assert "cover about 75.0% of all wrong labels." in text
    assert "estimated, not measured against true labels" in text
    assert "1 unreadable file" in text
    assert "cut short" in text
    for value in ("labelsieve scan photos -o out", "mini-glyph", "abc123", "2.6.0", "1 min 1 s"):
        assert value in text


def test_an_unreadable_image_that_people_dropped_is_still_unreadable(scan_folder):
    table = pd.read_parquet(scan_folder / "issues.parquet")
    table.loc[3, ["action", "predicted_label"]] = ["drop", None]
    table.loc[7, ["given_label", "error", "action"]] = [None, "the label is missing", "review"]
    table.to_parquet(scan_folder / "issues.parquet")
    text = text_of(write_report(scan_folder))
    assert "20 of 98 labels look wrong" in text
    assert "1 unreadable file" in text
    assert "cut short" in text


def test_rows_are_the_issues_worst_first_with_their_values(scan_folder):
    payload = payload_of(write_report(scan_folder))
    assert payload["row"] == list(range(0, 100, 5))
    assert payload["label_score"] == sorted(payload["label_score"])
    assert payload["file"][1] == "photos/5.png"
    assert payload["id"][1] == "id-5"
    names = payload["names"]
    assert (names[payload["given"][1]], names[payload["suggested"][1]]) == ("dog", "bird")
    assert payload["thumbs"] == []


def test_review_rows_without_the_issue_flag_are_shown_and_unscored_ones_come_last(scan_folder):
    table = pd.read_parquet(scan_folder / "issues.parquet")
    table.loc[7, "action"] = "review"
    table.loc[0, "label_score"] = np.nan
    table.to_parquet(scan_folder / "issues.parquet")
    rows = list(flagged_rows(read_scan(scan_folder).issues).index)
    assert len(rows) == 21
    assert 7 in rows
    assert rows[-1] == 0


def test_thumbnails_are_those_of_the_worst_and_broken_images_are_skipped(scan_folder, drawn_images):
    images = drawn_images(100, size=(300, 200), broken=(5,))
    payload = payload_of(
        write_report(scan_folder, images=images, max_thumbnails=4, thumbnail_size=64)
    )
    assert images.asked == [0, 5, 10, 15]
    assert [thumb is not None for thumb in payload["thumbs"]] == [True, False, True, True]
    encoded, width, height, small = payload["thumbs"][0]
    assert (width, height, small) == (300, 200, 0)
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
        assert image.size == (64, 43)


def test_small_images_keep_their_pixels(scan_folder, drawn_images):
    payload = payload_of(write_report(scan_folder, images=drawn_images(100, size=(28, 20))))
    encoded, width, height, small = payload["thumbs"][0]
    assert (width, height, small) == (28, 20, 1)
    with Image.open(io.BytesIO(base64.b64decode(encoded))) as image:
        assert image.size == (28, 20)


def test_hostile_names_cannot_leave_their_place(hostile_folder, drawn_images):
    path = write_report(hostile_folder, images=drawn_images(60))
    html = path.read_text(encoding="utf-8")
    assert html.count("</script>") == html.count("<script") == 2
    assert "<img" not in re.sub(r"<script.*?</script>", "", html, flags=re.S)
    assert "{{ 7 * 7 }}" in html
    payload = payload_of(path)
    table = pd.read_parquet(hostile_folder / "issues.parquet")
    assert payload["file"] == table["file_name"][payload["row"]].tolist()
    assert payload["id"] == table["id"][payload["row"]].tolist()


def test_policy_holds_the_hashes_of_what_is_inlined(scan_folder):
    html = write_report(scan_folder).read_text(encoding="utf-8")
    for tag in ("style", "script"):
        content = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.S)
        assert len(content) == 1
        digest = base64.b64encode(hashlib.sha256(content[0].encode()).digest()).decode()
        assert f"{tag}-src &#39;sha256-{digest}&#39;".replace("+", "&#43;") in html or (
            f"{tag}-src &#39;sha256-{digest}&#39;" in html
        )
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", html)


def test_a_hundred_thousand_images_make_a_small_page_quickly(big_folder, drawn_images):
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (224, 224, 3), dtype=np.uint8)
    images = drawn_images(100_000)
    images.image = lambda i: Image.fromarray(np.roll(pixels, i, axis=0))
    start = time.perf_counter()
    path = write_report(big_folder, images=images)
    assert time.perf_counter() - start < 30
    assert path.stat().st_size < 8_000_000
    payload = payload_of(path)
    assert len(payload["row"]) == MAX_ROWS
    assert sum(thumb is not None for thumb in payload["thumbs"]) == 400
    text = text_of(path)
    assert "20,000 of 99,999 labels look wrong" in text
    assert "the worst 5,000 of 20,000 flagged images" in text
    assert "30 of 100 classes" in text


def test_a_table_read_in_pieces_gives_the_same_page(big_folder, monkeypatch):
    whole = write_report(big_folder).read_text(encoding="utf-8")
    monkeypatch.setattr(scan_folder_module, "PIECE_ROWS", 7_001)
    monkeypatch.setattr(scan_folder_module, "MOST_ROWS", 20_000)
    assert len(read_scan(big_folder).issues) < MAX_ROWS + MAX_UNREADABLE
    assert write_report(big_folder).read_text(encoding="utf-8") == whole


def test_long_names_lower_the_number_of_rows(tmp_path, big_folder):
    table = pd.read_parquet(big_folder / "issues.parquet")
    table["file_name"] = "猫" * 300 + table["file_name"]
    table.to_parquet(big_folder / "issues.parquet")
    path = write_report(big_folder)
    assert 1_000 < len(payload_of(path)["row"]) < MAX_ROWS
    assert path.stat().st_size < 8_000_000


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(scan_folder, name):
    (scan_folder / name).unlink()
    with pytest.raises(InputError, match=rf"has no {name}; run `labelsieve scan DATA -o"):
        write_report(scan_folder)
    assert not (scan_folder / "report.html").exists()


def test_a_folder_that_is_no_scan_output_is_refused(tmp_path):
    with pytest.raises(InputError, match="is not a folder; run `labelsieve scan"):
        write_report(tmp_path / "none")
    with pytest.raises(InputError, match=r"has no issues\.parquet, summary\.json"):
        write_report(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("issues.parquet", "no", "cannot read .* as parquet"),
        ("summary.json", "[]", "must hold an object"),
        ("classes.json", "{}", "must hold a list"),
        ("run.json", "{", "as JSON"),
        ("noise_matrix.csv", ",a\na,one\n", "as a table of numbers"),
        ("noise_matrix.csv", ",a\na,1\n", r"shape \(1, 1\), but classes.json names 4"),
    ],
)
def test_damaged_files_are_named(scan_folder, name, content, message):
    (scan_folder / name).write_text(content)
    with pytest.raises(InputError, match=message):
        write_report(scan_folder)


def test_missing_columns_and_other_images_are_refused(scan_folder, drawn_images):
    with pytest.raises(InputError, match=r"images has 7 rows, but .* has 100"):
        write_report(scan_folder, images=drawn_images(7))
    with pytest.raises(InputError, match="max_thumbnails must be an integer"):
        write_report(scan_folder, max_thumbnails=-1)
    table = pd.read_parquet(scan_folder / "issues.parquet")
    table.drop(columns=["id", "label_score"]).to_parquet(scan_folder / "issues.parquet")
    with pytest.raises(InputError, match=r"(?s)2 problems.*'id' is missing.*'label_score'"):
        write_report(scan_folder)


def test_optional_keys_and_columns_may_be_absent(scan_folder):
    for name in ("summary", "run"):
        (scan_folder / f"{name}.json").write_text("{}")
    table = pd.read_parquet(scan_folder / "issues.parquet")
    kept = ["id", "file_name", "given_label", "is_label_issue", "label_score"]
    table.loc[10:19, "given_label"] = None
    table[kept].to_parquet(scan_folder / "issues.parquet")
    text = text_of(write_report(scan_folder))
    assert "20 of 90 labels look wrong" in text
    assert "Without a label 10" in text
    assert "no estimate of how many flags are right" in text


def test_no_issue_and_no_row(scan_folder):
    table = pd.read_parquet(scan_folder / "issues.parquet")
    clean = table[~table["is_label_issue"]]
    clean.to_parquet(scan_folder / "issues.parquet")
    assert "None of 79 labels looks wrong" in text_of(write_report(scan_folder))
    clean.iloc[:0].to_parquet(scan_folder / "issues.parquet")
    assert "None of 0 labels looks wrong" in text_of(write_report(scan_folder))


def test_same_input_same_page(scan_folder, drawn_images):
    first = write_report(scan_folder, images=drawn_images(100)).read_bytes()
    assert write_report(scan_folder, images=drawn_images(100)).read_bytes() == first
