"""The gate: what a baseline accepts, what is new, and the snippets of the documentation."""

import csv
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
import yaml
from typer.main import get_command

from labelsieve.cli.main import app
from labelsieve.core.exceptions import InputError
from labelsieve.data import LabeledImages
from labelsieve.detectors.issues import build_issues
from labelsieve.sieve.decisions import Decision, Decisions, hold
from labelsieve.sieve.gate import check_gate, read_baseline, with_kept, write_baseline

DOCS = Path(__file__).resolve().parents[2] / "docs"
IDS = ["a.png", 'b,"2".png', "c\nd.png", "../e.png", "grün.png", "f.png", "g.png", "h.png"]
FLAGGED = [0, 1, 2, 3]


def issues_of(ids=IDS, flagged=FLAGGED, given=None):
    n = len(ids)
    issue = np.isin(np.arange(n), flagged)
    labels = np.zeros(n, dtype=np.int64) if given is None else np.array(given)
    return build_issues(
        ids=ids, file_names=ids, given_labels=labels, class_names=("cat", "dog"),
        label_score=np.where(issue, np.arange(n) / 100, 0.9), is_label_issue=issue,
        probabilities=np.tile([0.2, 0.8], (n, 1)), p_clean=np.full(n, np.nan), detector="test",
        errors={},
    )  # fmt: skip


def table(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def test_without_a_baseline_every_issue_counts():
    gate = check_gate(issues_of(), None, 0.49)
    assert gate.share == 0.5
    assert not gate.passed
    assert check_gate(issues_of(), None, 0.5).passed
    assert check_gate(issues_of(), None, None).passed
    assert gate.new["id"].tolist() == IDS[:4]


def test_only_new_issues_count(tmp_path):
    path = table(tmp_path / "accepted.csv", [["id"], [IDS[1]], [IDS[2]], [IDS[1]], ["gone.png"]])
    gate = check_gate(issues_of(), read_baseline(path), 0.2)
    assert gate.record() == {
        "passed": False, "limit": 0.2, "share": 0.25, "n_new": 2, "n_accepted": 2,
        "n_unknown_in_baseline": 1, "new": ["a.png", "../e.png"],
    }  # fmt: skip
    assert check_gate(issues_of(), read_baseline(path), 0.25).passed


def test_the_issues_of_a_former_scan_are_accepted_for_their_label(tmp_path):
    issues_of(flagged=[0, 1]).save(tmp_path)
    baseline = read_baseline(tmp_path / "issues.csv")
    assert len(baseline) == 2
    gate = check_gate(issues_of(), baseline, 0.0)
    assert gate.new["id"].tolist() == IDS[2:4]
    relabeled = issues_of(given=[1, 0, 0, 0, 0, 0, 0, 0])
    assert check_gate(relabeled, baseline, 0.0).new["id"].tolist() == [IDS[0], *IDS[2:4]]


def test_kept_and_unsure_decisions_are_accepted(tmp_path):
    actions = ["keep", "unsure", "relabel", "drop"]
    labels = ["cat", "", "dog", ""]
    rows = [["id", "action", "label"], *zip(IDS, actions, labels, strict=False)]
    baseline = read_baseline(table(tmp_path / "d.csv", rows))
    assert check_gate(issues_of(), baseline, 0.0).new["id"].tolist() == IDS[2:4]
    relabeled = issues_of(given=[1] * 8)  # the kept "cat" is a "dog" now
    assert check_gate(relabeled, baseline, 0.0).new["id"].tolist() == [IDS[0], *IDS[2:4]]
    short = [["id", "action"], [IDS[0], "keep"]]
    baseline = read_baseline(table(tmp_path / "short.csv", short))
    assert check_gate(relabeled, baseline, 0.0).new["id"].tolist() == IDS[1:4]


def test_a_baseline_accepts_what_people_kept_before_it_was_written(tmp_path):
    ids = np.array(IDS, dtype=object)
    images = LabeledImages(ids, ids, np.zeros(8, dtype=np.int64), ("cat", "dog"), None, "test")
    rows = (Decision(IDS[0], "keep"), Decision(IDS[1], "relabel", "dog"), Decision(IDS[4], "keep"))
    held = hold(Decisions(rows, "x"), images)
    path = tmp_path / "accepted.csv"
    decided = issues_of(flagged=[1, 2, 3])  # rows 0 and 4 are kept, so that they are no issues
    assert write_baseline(path, decided, with_kept(None, held)) == 5
    assert check_gate(issues_of(flagged=[0, 1, 2, 3, 4]), read_baseline(path), 0.0).passed
    former = read_baseline(table(tmp_path / "former.csv", [["id"], [IDS[0]], [IDS[7]]]))
    assert with_kept(former, held).entries == {IDS[0]: None, IDS[7]: None, IDS[4]: {"cat"}}
    assert with_kept(former, None) is former


def test_a_written_baseline_lets_the_same_scan_pass(tmp_path):
    path = tmp_path / "accepted.csv"
    assert write_baseline(path, issues_of()) == 4
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["id", "file_name", "given_label"], *([i, i, "cat"] for i in IDS[:4])]
    assert check_gate(issues_of(), read_baseline(path), 0.0).passed
    later = issues_of(IDS[1:], [4])  # one accepted row is gone, three are flagged no more
    assert write_baseline(path, later, read_baseline(path)) == 4
    assert set(read_baseline(path).entries) == {*IDS[1:4], "f.png"}
    fixed = issues_of(IDS, [], [1, *[0] * 7])
    assert write_baseline(path, fixed, read_baseline(path)) == 4


def test_other_files_are_not_overwritten(tmp_path):
    (tmp_path / "thesis.csv").write_text("mine\n")
    with pytest.raises(InputError, match="is no baseline; add --force"):
        write_baseline(tmp_path / "thesis.csv", issues_of())
    assert write_baseline(tmp_path / "thesis.csv", issues_of(), force=True) == 4


def test_problems_of_a_baseline_are_said(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_baseline(tmp_path / "no.csv")
    with pytest.raises(InputError, match=r"with the column id \(found: name\)"):
        read_baseline(table(tmp_path / "a.csv", [["name"], ["x"]]))
    with pytest.raises(InputError, match=r"found: nothing"):
        read_baseline(table(tmp_path / "b.csv", []))
    rows = [["id", "action"], ["", "keep"], ["x", "kep"]]
    with pytest.raises(InputError) as caught:
        read_baseline(table(tmp_path / "c.csv", rows))
    assert "line 2: the id is empty" in str(caught.value)
    assert "line 3: action 'kep' is none of keep, relabel, drop, unsure" in str(caught.value)


def blocks(language):
    text = (DOCS / "gate.md").read_text(encoding="utf-8")
    return re.findall(rf"```{language}\n(.*?)```", text, flags=re.DOTALL)


def commands():
    """Every labelsieve command line in the documentation's snippets."""
    found = [line for block in blocks("bash") for line in block.splitlines()]
    for block in blocks("yaml"):
        value = yaml.safe_load(block)
        for job in value.get("jobs", {}).values():
            found += [n for step in job["steps"] for n in step.get("run", "").splitlines()]
        for repo in value.get("repos", []):
            found += [hook["entry"] for hook in repo["hooks"]]
    return [line for line in found if line.startswith("labelsieve ")]


def test_the_snippets_are_yaml_with_what_their_tools_need():
    action, hooks = (yaml.safe_load(block) for block in blocks("yaml"))
    (job,) = action["jobs"].values()
    assert job["runs-on"]
    assert all(("uses" in step) != ("run" in step) for step in job["steps"])
    assert action[True]  # YAML reads the key `on` as true, and so does GitHub
    (hook,) = hooks["repos"][0]["hooks"]
    assert hooks["repos"][0]["repo"] == "local"
    assert {"id", "name", "entry", "language", "pass_filenames"} <= set(hook)
    assert hook["pass_filenames"] is False


@pytest.mark.parametrize("line", commands() if (DOCS / "gate.md").exists() else [])
def test_the_command_lines_of_the_snippets_are_valid(line):
    words = shlex.split(line)[1:]
    command = get_command(app).commands[words[0]]  # type: ignore[attr-defined]
    with command.make_context(words[0], words[1:]) as context:
        assert context.params


def test_there_are_command_lines_to_check():
    assert len(commands()) >= 4
