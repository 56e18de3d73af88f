"""FiftyOne and Label Studio themselves, where they are installed.

They are heavy and pin other versions than ours, so they may live in an environment of their own:
`FIFTYONE_PYTHON` and `LABEL_STUDIO_PYTHON` name its interpreter. FiftyOne needs a `mongod`.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from test_scan_exports import finish

from labelsieve.data import load_images
from labelsieve.export import export_folder
from labelsieve.sieve.decision_files import read_decisions
from labelsieve.sieve.decisions import hold
from problems import write_colour_tree

pytestmark = pytest.mark.slow

FIFTYONE = """
import json, sys
import fiftyone as fo

folder, again, answer = sys.argv[1:]
kind = fo.types.FiftyOneImageClassificationDataset
dataset = fo.Dataset.from_dir(folder, kind, data_path="data.json", label_field="given")
predicted = {"data_path": "data.json", "labels_path": "predicted.json"}
dataset.merge_dir(folder, kind, label_field="predicted", **predicted)
seen = {
    s.given.labelsieve_id: [s.filepath, s.given.label, s.given.is_label_issue,
                            s.given.label_score, s.predicted.label]
    for s in dataset
}
suspect = dataset.match(fo.ViewField("given.is_label_issue"))
dataset.export(again, kind, label_field="given", export_media=False, include_confidence=True,
               include_attributes=True, classes=dataset.default_classes or None)
json.dump({"seen": seen, "suspect": suspect.values("given.labelsieve_id")}, open(answer, "w"))
dataset.delete()
"""

LABEL_STUDIO = """
import json, sys
from label_studio_sdk.converter import Converter
from label_studio_sdk.label_interface import LabelInterface

folder, answers, out = sys.argv[1:]
view = LabelInterface(open(folder + "/config.xml").read())
view.validate()
tasks = json.load(open(folder + "/tasks.json"))
for task in tasks:
    assert view.validate_task({"data": task["data"]}), task
    for prediction in task["predictions"]:
        assert view.validate_prediction(prediction), prediction
for task in json.load(open(answers)):
    for annotation in task["annotations"]:
        assert view.validate_annotation(annotation), annotation
Converter(folder + "/config.xml", folder).convert(answers, out, "JSON_MIN", is_dir=False)
"""


def run(variable, module, script, *arguments, **environment):
    """Run a script where a library is; skip the test where it is not."""
    python = os.environ.get(variable, sys.executable)
    if subprocess.run([python, "-c", f"import {module}"], capture_output=True).returncode:
        pytest.skip(f"needs {module}; {variable} may name a Python that has it")
    done = subprocess.run(
        [python, "-c", script, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=os.environ | environment,
    )
    if "MongoDB could not be installed" in done.stderr:
        pytest.skip("FiftyOne has no mongod here")
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture
def scanned(tmp_path):
    """A scan of 30 images in 3 colours."""
    source = write_colour_tree(tmp_path / "photos", per_class=10)
    images = load_images(source)
    return tmp_path / "out", finish(tmp_path / "out", source, images), images


def test_fiftyone_reads_it_and_writes_it_again(scanned, tmp_path):
    out, table, _ = scanned
    export_folder(out, tmp_path / "x", format="fiftyone")
    run("FIFTYONE_PYTHON", "fiftyone", FIFTYONE, tmp_path / "x", tmp_path / "again",
        tmp_path / "answer.json", FIFTYONE_DATABASE_DIR=str(tmp_path / "db"))  # fmt: skip
    answer = json.loads((tmp_path / "answer.json").read_text())
    files = json.loads((tmp_path / "x" / "data.json").read_text())
    assert answer["seen"] == {
        row.id: [files[f"{k:08d}"], row.given_label, row.is_label_issue, row.label_score,
                 row.predicted_label]
        for k, row in enumerate(table.itertuples())
    }  # fmt: skip
    assert answer["suspect"] == table["id"][table["is_label_issue"]].tolist()
    again = json.loads((tmp_path / "again" / "labels.json").read_text())
    found = {
        target["attributes"]["labelsieve_id"]: again["classes"][target["label"]]
        for target in again["labels"].values()
    }
    assert found == dict(zip(table["id"], table["given_label"], strict=True))


def test_label_studio_takes_tasks_and_its_exports_are_decisions(scanned, tmp_path):
    """Its own checks of tasks and answers, and its own converter from JSON to JSON-MIN."""
    out, table, images = scanned
    export_folder(out, tmp_path / "x", format="label-studio", options={"rows": "all"})
    tasks = json.loads((tmp_path / "x" / "tasks.json").read_text())
    for number, task in enumerate(tasks):
        result = task["predictions"][0]["result"]
        if number == 5:
            drop = {"value": {"choices": ["drop"]}, "from_name": "decision"}
            result = [{**result[0], **drop}]
        answer = {"id": number, "completed_by": {"id": 3, "email": "ann@example.org"}}
        task |= {"id": number, "annotations": [answer | {"result": result}]}
    answers = tmp_path / "answers.json"
    answers.write_text(json.dumps(tasks))
    run("LABEL_STUDIO_PYTHON", "label_studio_sdk", LABEL_STUDIO, tmp_path / "x", answers,
        tmp_path / "min")  # fmt: skip
    nested = hold(read_decisions(answers), images)
    flat = hold(read_decisions(next((tmp_path / "min").glob("*.json"))), images)
    assert flat.action.tolist() == nested.action.tolist()
    np.testing.assert_array_equal(flat.label, nested.label)
    assert {row.reviewer for row in nested.decisions.rows} == {"ann@example.org"}
    assert nested.decided.all()
    assert nested.dropped.sum() == 1
    relabeled = np.flatnonzero(nested.action == "relabel")
    suggested = [images.class_names[k] for k in nested.label[relabeled]]
    expected = table["suggested_label"].fillna(table["predicted_label"])
    assert suggested == expected.iloc[relabeled].tolist()
