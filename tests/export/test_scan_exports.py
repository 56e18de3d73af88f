"""Scans for other programs: the real library where it is light, else its documented schema."""

import json
import sqlite3
import warnings
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest

from labelsieve.core.exceptions import InputError, UnreadableImageError
from labelsieve.data import load_images
from labelsieve.detectors.issues import build_issues
from labelsieve.export import EXPORTS, export_folder
from labelsieve.export.label_studio import labeling_config
from labelsieve.sieve.decision_files import read_decisions
from labelsieve.sieve.decisions import hold
from problems import png, write_colour_tree

NAMES = ["a,b", 'say "dog"', "<b>&amp;</b>", "grün 日本"]
FILES = ["plain.png", 'q"uote,.png', "new\nline.png", "50% off?#.png", "..dots.png", "日本.png"]
FORMATS = ("csv", "cleanlab", "fiftyone", "label-studio", "hf")


def finish(out, source, images, flagged=(1, 4), unreadable=()):
    """Write what a scan leaves behind, of made-up judgements."""
    n, k = len(images), len(images.class_names)
    rng = np.random.default_rng(0)
    p = rng.dirichlet(np.ones(k), n)
    p[list(unreadable)] = np.nan
    issue = np.isin(np.arange(n), flagged)
    score = np.where(np.isnan(p[:, 0]), np.nan, np.where(issue, 0.1, 0.9))
    issues = build_issues(
        ids=images.ids, file_names=images.file_names, given_labels=images.given_labels,
        class_names=images.class_names, label_score=score, is_label_issue=issue,
        probabilities=p, p_clean=score, detector="latent-label",
        errors=dict.fromkeys(unreadable, "broken"),
    )  # fmt: skip
    out.mkdir()
    issues.save(out)
    (out / "run.json").write_text(json.dumps({"data": {"source": str(source)}}))
    (out / "classes.json").write_text(json.dumps(list(images.class_names)))
    return issues.table


@pytest.fixture
def hostile(tmp_path):
    """A scan of image files with hostile names, classes and one broken file."""
    rows = []
    for i in range(24):
        name = f"{i:02d}-{FILES[i % 6]}"
        (tmp_path / "pictures").mkdir(exist_ok=True)
        (tmp_path / "pictures" / name).write_bytes(b"no image" if i == 7 else png((9 * i, 0, 0)))
        rows.append({"image": f"pictures/{name}", "label": NAMES[i % 4] if i != 5 else None})
    pd.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
    images = load_images(tmp_path / "t.parquet")
    table = finish(tmp_path / "out", tmp_path / "t.parquet", images, unreadable=(7,))
    return tmp_path / "out", table, images


def test_csv_carries_the_decisions_made_since(hostile, tmp_path):
    out, table, _ = hostile
    with sqlite3.connect(out / "decisions.sqlite") as connection:
        connection.execute("CREATE TABLE current(id, action, label, reviewer, time, version)")
        values = (table["id"][1], "relabel", NAMES[3], "ann", "t", 1)
        connection.execute("INSERT INTO current VALUES(?,?,?,?,?,?)", values)
    connection.close()
    (path,) = export_folder(out, tmp_path / "x.csv", format="csv")
    found = pd.read_csv(path, keep_default_na=False)
    assert found["id"].tolist() == table["id"].tolist()
    assert found.loc[1, ["decision", "decided_label", "reviewer"]].tolist() == [
        "relabel", NAMES[3], "ann",
    ]  # fmt: skip
    assert (found["decision"] == "").sum() == 23
    assert export_folder(out, tmp_path / "d", format="csv") == [tmp_path / "d" / "issues.csv"]


def test_cleanlab_round_trip(tmp_path):
    """Our table has the columns and kinds of a real Datalab, and cleanlab takes it."""
    from cleanlab import Datalab
    from cleanlab.classification import CleanLearning
    from sklearn.linear_model import LogisticRegression

    source = write_colour_tree(tmp_path / "photos", per_class=10)
    images = load_images(source)
    table = finish(tmp_path / "out", source, images)
    export_folder(tmp_path / "out", tmp_path / "x", format="cleanlab")
    ours = pd.read_parquet(tmp_path / "x" / "label_issues.parquet")
    names = [images.class_names[k] for k in images.given_labels]
    lab = Datalab({"label": names}, label_name="label", verbosity=0)
    rng = np.random.default_rng(0)
    with warnings.catch_warnings():  # cleanlab warns of classes with few examples
        warnings.simplefilter("ignore")
        guesses = rng.dirichlet(np.ones(3), len(images))
        lab.find_issues(pred_probs=guesses, issue_types={"label": {}})
    theirs = lab.get_issues("label")
    assert list(ours.columns[:4]) == list(theirs.columns)
    for name in theirs.columns:
        assert pd.api.types.infer_dtype(ours[name]) == pd.api.types.infer_dtype(theirs[name])
    assert ours["given_label"].tolist() == theirs["given_label"].tolist()
    # Datalab stores issues as two columns and an `info` entry of class indices.
    index = {name: k for k, name in enumerate(sorted(images.class_names))}
    lab.data_issues.issues = ours[["is_label_issue", "label_score"]]
    for name in ("given_label", "predicted_label"):
        lab.data_issues.info["label"][name] = ours[name].map(index).to_numpy(dtype=int)
    back = lab.get_issues("label")
    for name in theirs.columns:
        assert back[name].tolist() == table[name].tolist()
    x = rng.normal(size=(len(images), 3))
    learner = CleanLearning(LogisticRegression())
    as_indices = ours.rename(columns={"label_score": "label_quality"}).assign(
        given_label=images.given_labels, predicted_label=ours["predicted_label"].map(index)
    )
    learner.fit(x, images.given_labels, label_issues=as_indices)
    assert learner.get_label_issues()["is_label_issue"].sum() == 2


def test_fiftyone_follows_its_documented_schema(hostile, tmp_path):
    """FiftyOne itself is not installed here; this is its documentation, restated."""
    out, table, _ = hostile
    export_folder(out, tmp_path / "x", format="fiftyone")
    files, given, predicted = (
        json.loads((tmp_path / "x" / f"{name}.json").read_text())
        for name in ("data", "labels", "predicted")
    )
    assert set(given) == set(predicted) == {"classes", "labels"}
    assert sorted(given["classes"]) == sorted(NAMES)
    assert set(files) == set(given["labels"]) == set(predicted["labels"])
    assert len(files) == 24  # the broken file is a file, and FiftyOne may show what is wrong
    reserved = {"id", "label", "confidence", "logits", "tags", "attributes"}
    for name, target in given["labels"].items():
        row = table.iloc[int(name)]
        assert Path(files[name]).is_file()
        assert "." not in name
        if target is None:
            assert pd.isna(row["given_label"])
            continue
        assert set(target) <= {"label", "confidence", "attributes"}
        assert given["classes"][target["label"]] == row["given_label"]
        assert isinstance(target.get("confidence", 0.5), float)
        assert target["attributes"]["labelsieve_id"] == row["id"]
        assert target["attributes"]["is_label_issue"] == row["is_label_issue"]
        assert not reserved & set(target["attributes"])
        assert all(isinstance(v, str | bool | float) for v in target["attributes"].values())
    labels = [predicted["labels"][name] for name in sorted(files)]
    found = [None if t is None else predicted["classes"][t["label"]] for t in labels]
    assert (
        found
        == table["predicted_label"]
        .astype(object)
        .where(table["predicted_label"].notna(), None)
        .tolist()
    )


def test_label_studio_tasks_and_config_fit_together(hostile, tmp_path):
    out, table, images = hostile
    export_folder(out, tmp_path / "x", format="label-studio", options={"root": str(tmp_path)})
    tasks = json.loads((tmp_path / "x" / "tasks.json").read_text())
    view = ElementTree.fromstring((tmp_path / "x" / "config.xml").read_text())
    controls = {c.get("name"): [v.get("value") for v in c] for c in view.iter("Choices")}
    assert controls == {"label": list(images.class_names), "decision": ["drop", "unsure"]}
    assert [image.get("value") for image in view.iter("Image")] == ["$image"]
    assert {c.get("toName") for c in view.iter("Choices")} == {"image"}
    wanted = table[table["is_label_issue"] | (table["action"] == "review")]
    assert {task["data"]["labelsieve_id"] for task in tasks} == set(wanted["id"])
    for task in tasks:
        row = table[table["id"] == task["data"]["labelsieve_id"]].iloc[0]
        address = task["data"]["image"]
        assert address.startswith("/data/local-files/?d=pictures/")
        assert not set(address.partition("?d=")[2]) & set(' "\n?#')
        (prediction,) = task["predictions"]
        (result,) = prediction["result"]
        assert (result["from_name"], result["to_name"]) == ("label", "image")
        assert result["type"] == "choices"
        assert result["value"]["choices"] == [row["suggested_label"]]
        assert 0 <= prediction.get("score", 0.5) <= 1
    export_folder(out, tmp_path / "y", format="label-studio", options={"rows": "all"})
    assert len(json.loads((tmp_path / "y" / "tasks.json").read_text())) == 24
    with pytest.raises(InputError, match="lies outside root="):
        export_folder(out, tmp_path / "z", format="label-studio", options={"root": str(out)})


def test_label_studio_answers_come_back_as_decisions(hostile, tmp_path):
    """Every task answered with its suggestion, exported as Label Studio does, read and held."""
    out, table, images = hostile
    export_folder(out, tmp_path / "x", format="label-studio")
    tasks = json.loads((tmp_path / "x" / "tasks.json").read_text())
    for number, task in enumerate(tasks):
        result = task["predictions"][0]["result"]
        answer = {"id": number, "completed_by": 3, "result": result, "was_cancelled": False}
        task |= {"id": number, "annotations": [answer]}
    (tmp_path / "answers.json").write_text(json.dumps(tasks))
    held = hold(read_decisions(tmp_path / "answers.json"), images)
    rows = [list(table["id"]).index(task["data"]["labelsieve_id"]) for task in tasks]
    assert sorted(rows) == np.flatnonzero(held.decided).tolist()
    suggested = [images.class_names[k] for k in held.label[rows]]
    assert suggested == table["suggested_label"].iloc[rows].tolist()
    assert set(held.action[rows]) == {"relabel"}


def test_hf_round_trip(hostile, tmp_path):
    from datasets import load_from_disk

    out, table, images = hostile
    export_folder(out, tmp_path / "x", format="hf")
    found = load_from_disk(str(tmp_path / "x"))
    assert found.features["label"].names == list(images.class_names)
    for name in ("id", "is_label_issue", "action", "suggested_label", "predicted_label"):
        plain = table[name].astype(object).where(table[name].notna(), None).tolist()
        assert found[name][:] == plain
    np.testing.assert_array_equal(found["label_score"][7], None)
    sizes = [row["image"] and row["image"].size for row in found]  # a broken one does not end it
    assert sizes == [None if i == 7 else (16, 16) for i in range(24)]
    again = load_images(tmp_path / "x")
    assert again.ids.tolist() == images.ids.tolist()
    np.testing.assert_array_equal(again.given_labels, images.given_labels)
    whole = [i for i in range(24) if i != 7]
    assert [again.read_bytes(i) for i in whole] == [images.read_bytes(i) for i in whole]


@pytest.mark.parametrize("name", ["hf", "fiftyone", "label-studio"])
def test_a_file_that_is_gone_costs_its_row_an_image_and_no_more(name, hostile, tmp_path):
    out, table, images = hostile
    Path(images.location(1)).unlink()  # a label issue
    export_folder(out, tmp_path / "x", format=name)
    if name == "hf":
        again = load_images(tmp_path / "x")
        assert again.ids.tolist() == images.ids.tolist()
        with pytest.raises(UnreadableImageError, match="no image given"):
            again.read_bytes(1)
        assert again.read_bytes(2) == images.read_bytes(2)
    elif name == "fiftyone":
        files = json.loads((tmp_path / "x" / "data.json").read_text())
        assert set(files) == {f"{row:08d}" for row in range(24) if row != 1}
    else:
        tasks = json.loads((tmp_path / "x" / "tasks.json").read_text())
        assert table["id"][4] in {task["data"]["labelsieve_id"] for task in tasks}
        assert table["id"][1] not in {task["data"]["labelsieve_id"] for task in tasks}


@pytest.mark.parametrize("name", ["fiftyone", "label-studio"])
def test_embedded_images_are_written_beside(name, tmp_path):
    rows = [
        {"image": {"bytes": png((i, 0, 0)), "path": "../../same.png"}, "label": NAMES[i % 2]}
        for i in range(6)
    ]
    pd.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
    images = load_images(tmp_path / "t.parquet")
    finish(tmp_path / "out", tmp_path / "t.parquet", images)
    export_folder(tmp_path / "out", tmp_path / "x", format=name)
    files = sorted((tmp_path / "x" / "images").iterdir())
    assert len(files) == (6 if name == "fiftyone" else 2)
    assert {p.name for p in tmp_path.iterdir()} == {"t.parquet", "out", "x"}


@pytest.mark.parametrize("name", ["fiftyone", "label-studio"])
def test_embedded_images_without_a_name_get_an_ending(name, tmp_path):
    """By which other programs tell what a file is."""
    data = tmp_path / "data"
    data.mkdir()
    rows = [{"image": png((i, 0, 0)), "label": NAMES[i % 2]} for i in range(6)]
    pd.DataFrame(rows).to_parquet(data / "t.parquet")
    finish(tmp_path / "out", data, load_images(data))
    export_folder(tmp_path / "out", tmp_path / "x", format=name)
    assert (tmp_path / "x" / "images" / "row-000001.png").read_bytes() == png((1, 0, 0))
    with pytest.raises(InputError, match=r"lies in the data set .*, whose files are never changed"):
        export_folder(tmp_path / "out", data / "x", format=name)
    assert len(load_images(data)) == 6


@pytest.mark.parametrize("name", FORMATS)
def test_what_is_no_scan_is_refused(name, tmp_path):
    (tmp_path / "model").mkdir()
    with pytest.raises(InputError, match=r"holds no finished scan \(no run\.json\)"):
        export_folder(tmp_path / "model", tmp_path / "x", format=name)
    assert name in EXPORTS.names()


def test_class_names_survive_the_configuration():
    view = ElementTree.fromstring(labeling_config(tuple(NAMES)))
    assert [choice.get("value") for choice in view.iter("Choice")] == [*NAMES, "drop", "unsure"]


def test_options_of_another_kind_are_told(hostile, tmp_path):
    out, _, _ = hostile
    with pytest.raises(InputError) as caught:
        export_folder(out, tmp_path / "x", format="label-studio", options={"root": 5, "rows": True})
    for part in (
        "options of export format 'label-studio'",
        "root must be a text (digits in quotes: --param 'NAME=\"5\"'), not 5",
        "rows must be a text",
    ):
        assert part in str(caught.value)
    with pytest.raises(InputError, match="check must be true or false, not 'maybe'"):
        export_folder(out, tmp_path / "x", format="onnx", options={"check": "maybe"})
    with pytest.raises(InputError, match="backbone must be a text"):
        export_folder(out, tmp_path / "x", format="onnx", options={"backbone": 16})
    assert not (tmp_path / "x").exists()
