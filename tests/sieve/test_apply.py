"""Corrected data sets: what is in them, that originals are untouched, and the way back."""

import csv
import hashlib
import json
import os

import numpy as np
import pandas as pd
import pytest

from labelsieve.core.exceptions import InputError
from labelsieve.data import load_images
from labelsieve.detectors.issues import build_issues
from labelsieve.sieve.apply import apply
from labelsieve.sieve.changes import Change, read_changes, undo_changes, write_changes
from labelsieve.sieve.corrected import WRITERS
from labelsieve.sieve.safe_paths import LONGEST, SafePaths, safe_part
from labelsieve.sieve.undo import undo
from problems import png, write_colour_tree

HOSTILE = [
    'a,"b".png',
    "new\nline.png",
    "carriage\rreturn.png",
    "grün 日本.png",
    "..x.png",
    "=1.png",
]


def pretend_scan(source, out, flagged=(), **options):
    """The part of a scan's folder that `apply` reads: rows `flagged` are to be relabeled."""
    images = load_images(source, **options)
    n, k = len(images), len(images.class_names)
    issue = np.isin(images.ids, list(flagged))
    p = np.full((n, k), 0.1)
    p[np.arange(n), np.where(issue, (images.given_labels + 1) % k, images.given_labels)] = 0.8
    issues = build_issues(
        ids=images.ids, file_names=images.file_names, given_labels=images.given_labels,
        class_names=images.class_names, label_score=np.where(issue, 0.1, 0.9),
        is_label_issue=issue, probabilities=p, p_clean=np.where(issue, 0.1, 0.9),
        detector="test", errors={},
    )  # fmt: skip
    out.mkdir()
    issues.save(out)
    data = {"source": str(source), **options}
    (out / "run.json").write_text(json.dumps({"data": data}))
    (out / "classes.json").write_text(json.dumps(list(images.class_names)))
    return images


def decide(path, *rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", "action", "label", "reviewer"), *rows])
    return path


def tree(root):
    """Names, contents and times of all files below a folder."""
    return {
        str(p.relative_to(root)): (hashlib.sha256(p.read_bytes()).hexdigest(), p.stat().st_mtime_ns)
        for p in sorted(root.rglob("*"))
        if p.is_file()
    }


def labels(images):
    names = np.array([*images.class_names, None], dtype=object)
    return dict(zip(images.ids, names[images.given_labels], strict=True))


@pytest.fixture
def photos(tmp_path):
    root = write_colour_tree(tmp_path / "photos", per_class=5)
    for i, name in enumerate(HOSTILE):
        (root / "red" / name).write_bytes(png((i, 0, 0)))
    (root / "red" / "deep" / "er").mkdir(parents=True)
    (root / "red" / "deep" / "er" / "x.png").write_bytes(png())
    return root


DECIDED = [
    ("green/red-03.png", "relabel", "red", "ann"),
    ("red/blue-03.png", "drop", "", "bob"),
    ("red/new\nline.png", "relabel", "blue", "ann"),
    ('red/a,"b".png', "relabel", "green", ""),
    ("red/deep/er/x.png", "relabel", "green", "ann"),
    ("red/red-00.png", "keep", "", "ann"),
    ("red/red-01.png", "unsure", "", "ann"),
]


@pytest.mark.parametrize("how", WRITERS)
def test_apply_and_undo_round_trip(how, photos, tmp_path):
    images = pretend_scan(photos, tmp_path / "out", ["red/red-01.png", "red/red-02.png"])
    decisions = decide(tmp_path / "d.csv", *DECIDED)
    before = tree(photos)
    done = apply(tmp_path / "out", tmp_path / "new", decisions=decisions, how=how)
    expected = labels(images)
    del expected["red/blue-03.png"]
    expected |= {
        "green/red-03.png": "red", "red/new\nline.png": "blue", 'red/a,"b".png': "green",
        "red/deep/er/x.png": "green",
    }  # fmt: skip
    again = load_images(tmp_path / "new")
    assert labels(again) == expected
    assert again.class_names == images.class_names
    positions = {name: row for row, name in enumerate(images.ids)}
    for row, name in enumerate(again.ids):
        assert again.read_bytes(row) == images.read_bytes(positions[name])
    assert [(c.id, c.before, c.after, c.action, c.source) for c in done.changes] == [
        ("green/red-03.png", "green", "red", "relabel", "ann"),
        ('red/a,"b".png', "red", "green", "relabel", "decision"),
        ("red/blue-03.png", "red", "", "drop", "bob"),
        ("red/new\nline.png", "red", "blue", "relabel", "ann"),
        ("red/deep/er/x.png", "red", "green", "relabel", "ann"),
    ]
    assert read_changes(tmp_path / "new" / "changes.csv") == done.changes
    undo(tmp_path / "new", tmp_path / "back", how=how)
    back = load_images(tmp_path / "back")
    assert labels(back) == labels(images)
    assert back.ids.tolist() == images.ids.tolist()
    assert tree(photos) == before
    assert not [p for p in tmp_path.iterdir() if "partial" in p.name]


def test_class_folders_are_those_of_the_new_labels(photos, tmp_path):
    pretend_scan(photos, tmp_path / "out")
    decisions = decide(tmp_path / "d.csv", *DECIDED)
    for how in ("copy", "link"):
        apply(tmp_path / "out", tmp_path / how, decisions=decisions, how=how)
        assert (tmp_path / how / "green" / "deep" / "er" / "x.png").read_bytes() == png()
        assert (tmp_path / how / "red" / "red-03.png").is_file()
        assert not (tmp_path / how / "red" / "blue-03.png").exists()
        assert (tmp_path / how / "red" / "red-00.png").is_symlink() == (how == "link")
        outside = os.path.realpath(tmp_path / how)
        for path in (tmp_path / how).rglob("*"):
            assert os.path.realpath(path.parent).startswith(outside)


def test_nothing_is_changed_without_decisions_and_actions_can_be_accepted(photos, tmp_path):
    images = pretend_scan(photos, tmp_path / "out", ["red/red-01.png", "red/red-02.png"])
    assert apply(tmp_path / "out", tmp_path / "a").changes == []
    assert labels(load_images(tmp_path / "a")) == labels(images)
    decisions = decide(tmp_path / "d.csv", ("red/red-01.png", "unsure", "", "ann"))
    done = apply(tmp_path / "out", tmp_path / "b", decisions=decisions, accept=("relabel",))
    change = Change("red/red-02.png", "red/red-02.png", "red", "blue", "relabel", "scan")
    assert done.changes == [change]
    with pytest.raises(InputError, match="accept takes relabel and drop, not 'review'"):
        apply(tmp_path / "out", tmp_path / "c", accept=("review",))


def test_decisions_in_the_folder_of_the_scan_are_found(photos, tmp_path):
    pretend_scan(photos, tmp_path / "out")
    decide(tmp_path / "out" / "decisions.csv", DECIDED[0])
    assert len(apply(tmp_path / "out", tmp_path / "a").changes) == 1


def test_folders_in_the_way_are_refused(photos, tmp_path):
    pretend_scan(photos, tmp_path / "out")
    out, before = tmp_path / "out", tree(photos)
    with pytest.raises(InputError, match="lies in the data set"):
        apply(out, photos)
    with pytest.raises(InputError, match="lies in the data set"):
        apply(out, photos / "new" / "er")
    (tmp_path / "link").symlink_to(photos, target_is_directory=True)
    with pytest.raises(InputError, match="lies in the data set"):
        apply(out, tmp_path / "link" / "x")
    with pytest.raises(InputError, match="is not empty"):
        apply(out, tmp_path)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="is a file"):
        apply(out, tmp_path / "file")
    (tmp_path / "empty").mkdir()
    apply(out, tmp_path / "empty")
    assert tree(photos) == before


def test_a_failure_leaves_nothing_behind(photos, tmp_path, monkeypatch):
    pretend_scan(photos, tmp_path / "out")

    def fails(images, before, folder):
        (folder / "half").write_text("")
        raise RuntimeError("disk")

    monkeypatch.setitem(WRITERS, "copy", fails)
    with pytest.raises(RuntimeError, match="disk"):
        apply(tmp_path / "out", tmp_path / "new", how="copy")
    assert {p.name for p in tmp_path.iterdir()} == {"photos", "out"}


def test_changed_or_missing_data_are_refused(tmp_path):
    rows = [("1.png", "cat"), ("2.png", "dog")]
    for name, _ in rows:
        (tmp_path / name).write_bytes(png())
    pd.DataFrame(rows, columns=["image", "label"]).to_csv(tmp_path / "t.csv", index=False)
    pretend_scan(tmp_path / "t.csv", tmp_path / "out")
    (tmp_path / "t.csv").write_text("image,label\n1.png,dog\n2.png,dog\n3.png,cat\n")
    with pytest.raises(InputError, match="has changed since the scan"):
        apply(tmp_path / "out", tmp_path / "new")
    (tmp_path / "t.csv").write_text("image,label\n1.png,dog\n2.png,cat\n")
    with pytest.raises(InputError, match=r"'1.png' was 'cat' and is 'dog'"):
        apply(tmp_path / "out", tmp_path / "new")
    (tmp_path / "t.csv").unlink()
    with pytest.raises(InputError, match="cannot be found again"):
        apply(tmp_path / "out", tmp_path / "new")


@pytest.mark.parametrize("way", ["split", "folder", "path"])
def test_test_splits_are_reported_and_not_cleaned(way, tmp_path):
    root = tmp_path / "photos"
    for split in ("train", "test"):
        write_colour_tree(root / split, per_class=5)
    if way == "path":
        names = [str(p.relative_to(root)) for p in sorted(root.rglob("*.png"))]
        table = pd.DataFrame({"image": names, "label": [name.split("/")[1] for name in names]})
        table.to_csv(root / "all.csv", index=False)
        images = pretend_scan(root / "all.csv", tmp_path / "out")
    elif way == "folder":
        images = pretend_scan(root / "test", tmp_path / "out")
    else:
        images = pretend_scan(root, tmp_path / "out", split="test")
    name = next(name for name in images.ids if name.endswith("green/red-03.png"))
    decisions = decide(tmp_path / "d.csv", (name, "relabel", "red", ""))
    other = next((n for n in images.ids if n.startswith("train") and "green/red-03" in n), None)
    if other:
        decisions = decide(tmp_path / "d.csv", (name, "relabel", "red"), (other, "relabel", "red"))
    done = apply(tmp_path / "out", tmp_path / "new", decisions=decisions)
    if way == "path":
        name = "test/green/red-03.png"
    assert [change.id for change in done.held_back] == [name]
    assert [change.id for change in done.changes] == ([other] if other else [])
    assert "1 changes concern images of a test split: labels of test images stay" in done.notes[0]
    assert read_changes(tmp_path / "new" / "held_back.csv") == done.held_back
    assert labels(load_images(tmp_path / "new"))[name] == "green"
    done = apply(tmp_path / "out", tmp_path / "all", decisions=decisions, include_test=True)
    assert labels(load_images(tmp_path / "all"))[name] == "red"
    assert done.held_back == []


def test_a_test_split_beside_the_scanned_one_is_mentioned(tmp_path):
    for split in ("train", "test"):
        write_colour_tree(tmp_path / "photos" / split, per_class=5)
    pretend_scan(tmp_path / "photos", tmp_path / "out")
    decisions = decide(tmp_path / "d.csv", ("green/red-03.png", "relabel", "red", ""))
    done = apply(tmp_path / "out", tmp_path / "new", decisions=decisions)
    assert len(done.changes) == 1
    assert "the split test" in done.notes[0]
    assert "is left alone" in done.notes[0]


def test_a_class_that_is_called_test_is_no_split(tmp_path):
    for name in ("test", "sign"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        for i in range(2):
            (tmp_path / "photos" / name / f"{i}.png").write_bytes(png())
    pretend_scan(tmp_path / "photos", tmp_path / "out")
    decisions = decide(tmp_path / "d.csv", ("test/0.png", "relabel", "sign", ""))
    assert len(apply(tmp_path / "out", tmp_path / "new", decisions=decisions).changes) == 1


def test_embedded_images_with_hostile_names_and_labels(tmp_path):
    names = ["../../evil", "a/b", ".hidden", "con", "train", "x" * 300, "Evil", "evil"]
    rows = [
        {"image": {"bytes": png((i, 1, 2)), "path": path}, "label": names[i % 8]}
        for i, path in enumerate(["../../../up.png", "/abs.png", "c:\\w.png", "", "a/b.png", "a",
                                  "a/b.png", ".", "a/b", None, "A/B.PNG", ".hid.png"] * 2)
    ]  # fmt: skip
    pd.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
    images = pretend_scan(tmp_path / "t.parquet", tmp_path / "out")
    for how in ("metadata", "link"):
        with pytest.raises(InputError, match=f"--how {how} needs image files, but the image of"):
            apply(tmp_path / "out", tmp_path / how, how=how)
    for how in ("copy", "parquet", "hf"):
        apply(tmp_path / "out", tmp_path / how, how=how)
        again = load_images(tmp_path / how)
        assert labels(again) == labels(images)
        assert [again.read_bytes(i) for i in range(24)] == [row["image"]["bytes"] for row in rows]
    assert len([p for p in (tmp_path / "copy").rglob("*") if p.suffix.lower() == ".png"]) == 24
    assert not (tmp_path / "evil").exists()
    assert {p.name for p in tmp_path.iterdir()} == {"t.parquet", "out", "copy", "parquet", "hf"}


def test_unreadable_and_unlabeled_rows_stay(tmp_path):
    root = write_colour_tree(tmp_path / "photos", per_class=5)
    (root / "red" / "broken.png").write_bytes(b"no image")
    (root / "red" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (root / "loose.png").write_bytes(png())
    images = pretend_scan(root, tmp_path / "out")
    decisions = decide(tmp_path / "d.csv", ("loose.png", "relabel", "red", ""))
    for how in WRITERS:
        apply(tmp_path / "out", tmp_path / how, how=how, decisions=decisions)
        again = load_images(tmp_path / how)
        assert labels(again) == labels(images) | {"loose.png": "red"}
        undo(tmp_path / how, tmp_path / f"{how}-back")
        assert labels(load_images(tmp_path / f"{how}-back")) == labels(images)


def test_undo_says_what_does_not_fit(photos, tmp_path):
    pretend_scan(photos, tmp_path / "out")
    decisions = decide(tmp_path / "d.csv", *DECIDED[:2])
    apply(tmp_path / "out", tmp_path / "new", decisions=decisions, how="copy")
    with pytest.raises(InputError, match=r"holds no changes\.csv and apply\.json; --undo takes"):
        undo(photos, tmp_path / "x")
    with pytest.raises(InputError, match="lies in the data set"):
        undo(tmp_path / "new", photos / "x")
    photos.rename(tmp_path / "gone")
    with pytest.raises(InputError, match="1 dropped images cannot be brought back"):
        undo(tmp_path / "new", tmp_path / "x")
    (tmp_path / "gone").rename(photos)
    table = (tmp_path / "new" / "metadata.csv").read_text()
    edited = table.replace("red/red-03.png,red,green", "red/red-03.png,blue,green")
    assert edited != table
    (tmp_path / "new" / "metadata.csv").write_text(edited)
    with pytest.raises(InputError, match="was relabeled to 'red', but is 'blue'"):
        undo(tmp_path / "new", tmp_path / "x")


def test_the_log_backwards():
    log = [Change("a", "a", "x", "y", "relabel", ""), Change("b", "b", "", "x", "relabel", "")]
    assert undo_changes({"a": "y", "b": "x"}, log) == {"a": "x", "b": None}
    with pytest.raises(InputError) as caught:
        undo_changes({"a": "z"}, [*log, Change("a", "a", "x", "", "drop", "")])
    assert "id 'a' was dropped, but it is in the data" in str(caught.value)
    assert "id 'b' was relabeled, but it is not in the data" in str(caught.value)


def test_the_log_is_read_as_it_was_written(tmp_path):
    changes = [Change(name, name, "a,b", 'c"\r\nd', "relabel", "é") for name in HOSTILE]
    write_changes(tmp_path / "changes.csv", changes)
    assert read_changes(tmp_path / "changes.csv") == changes
    (tmp_path / "changes.csv").write_text("id,before\n")
    with pytest.raises(InputError, match="is no log of changes"):
        read_changes(tmp_path / "changes.csv")


def test_safe_paths_stay_inside_and_apart():
    paths = SafePaths()
    names = ["../../a.png", "/a.png", "..\\a.png", "A.png", "a.png", ".a.png", "", "..", "x/a", "x"]
    found = [paths.path(label, name) for label in ("cat", "CAT", "../cat") for name in names]
    assert len({name.casefold() for name in found}) == len(found)
    for name in found:
        parts = name.split("/")
        assert len(parts) >= 2
        assert all(part and not part.startswith(".") for part in parts)
    assert {name.split("/")[0] for name in found} == {"cat", "CAT-2", "_..cat".replace("..", ".._")}
    assert paths.path("cat", "a", None) != paths.path("cat", "a/b").split("/")[0]


def test_a_file_never_takes_the_place_of_a_folder():
    for names in (["a", "a/b"], ["a/b", "a"]):
        paths = SafePaths()
        found = [paths.path("cat", name) for name in names]
        folders = {name.rpartition("/")[0] for name in found}
        assert not folders & set(found)


@pytest.mark.parametrize("text", ["x" * 400 + ".jpeg", "日" * 200, "con", "nul.png", "a\x00b", "."])
def test_safe_parts_are_short_and_plain(text):
    part = safe_part(text)
    assert 0 < len(part.encode()) <= LONGEST
    assert part.isprintable()
    assert part.lower() not in ("con", "nul.png")
    assert part.endswith(".jpeg") or not text.endswith(".jpeg")
