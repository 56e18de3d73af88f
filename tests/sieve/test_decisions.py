"""Decisions: their files, their checks against a data set, and Label Studio's answers."""

import csv
import json
import sqlite3

import numpy as np
import pytest

from labelsieve.core.exceptions import InputError
from labelsieve.data import LabeledImages
from labelsieve.data.sources import FileSource
from labelsieve.sieve.decision_files import read_decisions
from labelsieve.sieve.decisions import Decision, Decisions, hold, one_each

HOSTILE = ['a,"b".png', "new\nline\r.png", "../../x.png", "grün 日本.png", "=1+1.png", " lead.png"]


def images_of(ids, labels=None, names=("cat", "dog", "eel")):
    ids = np.array(list(ids), dtype=object)
    given = np.zeros(len(ids), dtype=np.int64) if labels is None else np.array(labels)
    return LabeledImages(ids, ids, given, names, FileSource(".", list(ids)), "test")


def table(path, rows, header=("id", "action", "label")):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return path


def database(path, rows):
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(
            "CREATE TABLE current(id TEXT PRIMARY KEY, action TEXT, label TEXT, reviewer TEXT, "
            "time TEXT, version INTEGER)"
        )
        connection.executemany("INSERT INTO current VALUES(?,?,?,?,?,?)", rows)
    connection.close()
    return path


def test_a_table_and_a_database_say_the_same_of_hostile_ids(tmp_path):
    rows = [(name, "relabel", "dog", "ann", "t") for name in HOSTILE]
    path = table(tmp_path / "d.csv", rows, ("id", "action", "label", "reviewer", "time"))
    strange = tmp_path / "100%?#.sqlite"
    database(strange, [(*row, 3) for row in rows])
    expected = [Decision(*row) for row in rows]
    assert list(read_decisions(path).rows) == expected
    assert sorted(read_decisions(strange).rows, key=str) == sorted(expected, key=str)
    read_decisions(path).save(tmp_path / "again.csv")
    assert read_decisions(tmp_path / "again.csv").rows == read_decisions(path).rows
    held = hold(read_decisions(path), images_of(HOSTILE))
    assert held.label.tolist() == [1] * len(HOSTILE)


def test_reading_a_database_changes_nothing_in_it(tmp_path):
    path = database(tmp_path / "decisions.sqlite", [("a", "keep", None, "ann", "t", 1)])
    before = path.read_bytes()
    assert read_decisions(path).rows == (Decision("a", "keep", None, "ann", "t"),)
    assert path.read_bytes() == before
    (tmp_path / "no.sqlite").write_bytes(b"no database at all")
    with pytest.raises(InputError, match="as decisions of `labelsieve review`: file is not a"):
        read_decisions(tmp_path / "no.sqlite")


def test_a_folder_gives_its_table_overlaid_by_its_database(tmp_path):
    with pytest.raises(InputError, match="holds no decisions"):
        read_decisions(tmp_path)
    table(tmp_path / "decisions.csv", [("a", "keep", ""), ("b", "relabel", "cat")])
    rows = [("b", "drop", None, "r", "t", 1), ("c", "unsure", None, "r", "t", 1)]
    database(tmp_path / "decisions.sqlite", rows)
    found = {row.id: row.action for row in read_decisions(tmp_path).rows}
    assert found == {"a": "keep", "b": "drop", "c": "unsure"}


def test_problems_of_a_table_are_gathered(tmp_path):
    with pytest.raises(InputError, match=r"lacks the column action; decisions have .*found: id"):
        read_decisions(table(tmp_path / "a.csv", [("x",)], ("id",)))
    with pytest.raises(InputError, match="line 2: the id is empty"):
        read_decisions(table(tmp_path / "b.csv", [("", "keep", "")]))
    rows = [("a", "kep", ""), ("b", "relabel", ""), ("c", "keep", ""), ("c", "drop", "")]
    with pytest.raises(InputError) as caught:
        read_decisions(table(tmp_path / "c.csv", rows))
    text = str(caught.value)
    assert "3 problems" in text
    assert "action 'kep' of id 'a' is not known; choose one of keep, relabel, drop, unsure" in text
    assert "id 'b' is to be relabeled, but has no label" in text
    assert "id 'c' is decided in two ways: 'keep' and 'drop'" in text
    (tmp_path / "d.txt").write_text("")
    with pytest.raises(InputError, match=r"not '\.txt'"):
        read_decisions(tmp_path / "d.txt")


def test_the_same_decision_twice_is_one():
    rows = [Decision("a", "keep"), Decision("a", "keep", "cat"), Decision("b", "drop")]
    assert one_each(rows, "x").counts() == {"keep": 1, "relabel": 0, "drop": 1, "unsure": 0}


def test_decisions_find_their_rows():
    images = images_of("abcdef", [0, 0, 1, 2, 0, -1])
    rows = [
        Decision("a", "keep"), Decision("b", "relabel", "dog"), Decision("c", "relabel", "dog"),
        Decision("d", "drop"), Decision("e", "unsure"), Decision("f", "relabel", "eel"),
    ]  # fmt: skip
    held = hold(Decisions(tuple(rows), "x"), images)
    assert held.action.tolist() == ["keep", "relabel", "keep", "drop", "unsure", "relabel"]
    assert held.label.tolist() == [0, 1, 1, -1, -1, 2]
    assert held.decided.tolist() == [True, True, True, True, False, True]
    assert held.wrong().tolist() == [False, True, False, True, False, True]
    assert held.training_labels(images.given_labels).tolist() == [0, 1, 1, -1, 0, 2]
    assert held.decisions.rows == (Decision("a", "keep", "cat"), *rows[1:])


def test_decisions_of_other_data_are_refused_in_one_message():
    rows = (
        Decision("nowhere.png", "keep"), Decision("a", "relabel", "dgo"),
        Decision("b", "keep", "eel"),
    )  # fmt: skip
    with pytest.raises(InputError) as caught:
        hold(Decisions(rows, "f.csv"), images_of("ab"))
    text = str(caught.value)
    assert "decisions of f.csv do not fit the data: 3 problems" in text
    assert "1 of the ids are not in the data: 'nowhere.png'. Ids of the data look like 'a'" in text
    assert "label 'dgo' of id 'a' is no class of the data; the classes are 'cat', 'dog'" in text
    assert "did you mean 'dog'?" in text
    assert "id 'b' was decided to keep 'eel', but its label in the data is 'cat'" in text


def test_dropped_rows_may_be_gone_but_not_all_of_them(caplog):
    rows = (Decision("gone", "drop"), Decision("a", "keep"))
    assert hold(Decisions(rows, "x"), images_of("ab")).action.tolist() == ["keep", ""]
    assert "1 images to be dropped are not in the data, such as 'gone'" in caplog.text
    with pytest.raises(InputError, match="1 of the ids are not in the data"):
        hold(Decisions(rows[:1], "x"), images_of("ab"))


def annotated(name, given, by, *choices, cancelled=False):
    """A task as Label Studio exports it (its documented JSON)."""
    result = [
        {"id": "x", "from_name": control, "to_name": "image", "type": "choices",
         "value": {"choices": [value]}, "origin": "manual"}
        for control, value in choices
    ]  # fmt: skip
    annotation = {
        "id": 7, "completed_by": by, "result": result, "was_cancelled": cancelled,
        "ground_truth": False, "created_at": "2024-01-01T00:00:00Z",
        "updated_at": "2024-01-01T00:00:01Z", "lead_time": 1.5,
    }  # fmt: skip
    data = {"image": "/data/local-files/?d=x.png", "labelsieve_id": name, "given_label": given}
    return {"id": 1, "data": data, "annotations": [annotation], "predictions": [], "project": 1}


def test_label_studio_answers_become_decisions(tmp_path):
    tasks = [
        annotated("a", "cat", 10, ("label", "cat")),
        annotated("b", "cat", {"id": 2, "email": "ann@x"}, ("label", "dog")),
        annotated("c", "cat", 10, ("label", "dog"), ("decision", "drop")),
        annotated("d", "cat", 10, ("decision", "unsure")),
        annotated("e", "cat", 10),
        annotated("f", "cat", 10, ("label", "dog"), cancelled=True),
    ]
    (tmp_path / "export.json").write_text(json.dumps(tasks))
    time = "2024-01-01T00:00:01Z"
    assert read_decisions(tmp_path / "export.json").rows == (
        Decision("a", "keep", "cat", "10", time),
        Decision("b", "relabel", "dog", "ann@x", time),
        Decision("c", "drop", None, "10", time),
        Decision("d", "unsure", None, "10", time),
    )
    flat = {"image": "x", "labelsieve_id": "a", "given_label": "cat", "id": 1, "annotator": 10}
    flat |= {"label": "dog", "updated_at": time}
    other = flat | {"labelsieve_id": "b", "label": {"choices": ["cat"]}, "decision": "drop"}
    (tmp_path / "min.json").write_text(json.dumps([flat, other]))
    found = read_decisions(tmp_path / "min.json").rows
    assert [(row.id, row.action, row.label) for row in found] == [
        ("a", "relabel", "dog"), ("b", "drop", None),
    ]  # fmt: skip


def test_label_studio_exports_of_others_are_refused(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps([{"data": {"image": "x"}, "annotations": []}]))
    with pytest.raises(InputError, match="1 of 1 tasks have no 'labelsieve_id'"):
        read_decisions(tmp_path / "a.json")
    (tmp_path / "b.json").write_text("{}")
    with pytest.raises(InputError, match="expected a list of tasks"):
        read_decisions(tmp_path / "b.json")
    both = [annotated("a", "cat", 1, ("label", "dog")), annotated("a", "cat", 2, ("label", "eel"))]
    (tmp_path / "c.json").write_text(json.dumps(both))
    with pytest.raises(InputError, match="'a' is decided in two ways: 'relabel dog' and 'relabel"):
        read_decisions(tmp_path / "c.json")
