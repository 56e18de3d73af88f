"""From a scan to decisions, a second scan, a corrected data set and the gate, as typed."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from labelsieve.cli.main import app
from labelsieve.core.exceptions import InputError
from labelsieve.data import load_images
from labelsieve.review.store import DecisionStore, Proposal
from labelsieve.sieve.decision_files import read_decisions
from problems import write_colour_tree

JUDGE = ("--detector", "label-match")  # of a model that knows nothing it flags many labels


@pytest.fixture
def photos(tmp_path):
    return write_colour_tree(tmp_path / "photos", per_class=8)


@pytest.fixture
def scan(photos, tiny_clip_dir):
    """Run `labelsieve scan`."""

    def command(out, *arguments, code=0, data=photos):
        return run(
            "scan", data, "-o", out, "--model", tiny_clip_dir, "--tuner", "zero-shot", *arguments,
            code=code,
        )  # fmt: skip

    return command


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def review(folder, *decisions):
    """Decide as the review page does."""
    store = DecisionStore(folder / "decisions.sqlite")
    store.decide([Proposal(*decision, 0) for decision in decisions], reviewer="ann")
    store.close()


def test_review_apply_rescan_undo(photos, scan, tmp_path):
    out = tmp_path / "out"
    scan(out)
    review(
        out, ("green/red-06.png", "relabel", "red"), ("green/red-07.png", "relabel", "red"),
        ("red/blue-06.png", "drop", None), ("red/red-00.png", "keep", None),
    )  # fmt: skip
    assert len(read_decisions(out)) == 4
    result = scan(tmp_path / "out2", "--decisions", out)
    assert "4 decisions (1 keep, 2 relabel, 1 drop, 0 unsure)" in result.stdout
    table = pd.read_parquet(tmp_path / "out2" / "issues.parquet").set_index("id")
    assert table.loc["green/red-06.png", ["action", "suggested_label"]].tolist() == [
        "relabel", "red",
    ]  # fmt: skip
    assert "green/red-06.png" not in result.stdout  # decided rows are not listed as suspects
    for name in ("out", "out2"):
        result = run("apply", tmp_path / name, "-o", tmp_path / f"clean-{name}", "--how", "copy")
        assert "23 images, 2 relabeled, 1 left out" in result.stdout
    clean = load_images(tmp_path / "clean-out")
    assert clean.class_counts() == {"blue": 8, "green": 6, "red": 9}
    result = scan(tmp_path / "out3", "--decisions", out, "--json", data=tmp_path / "clean-out")
    figures = json.loads(result.stdout)["decisions"]
    assert [figures[name] for name in ("keep", "relabel", "drop")] == [3, 0, 0]
    result = run("apply", tmp_path / "clean-out", "--undo", "-o", tmp_path / "again")
    assert "24 images as they were, 2 labels taken back and 1 image brought back" in result.stdout
    assert load_images(tmp_path / "again").class_counts() == load_images(photos).class_counts()
    result = run(
        "apply", out, "-o", tmp_path / "j", "--accept", "relabel", "--how", "parquet", "--json"
    )
    assert json.loads(result.stdout)["n_dropped"] == 1
    run("apply", out, "--undo", "--accept", "drop", "-o", tmp_path / "k", code=2)


def test_the_gate_lists_new_issues_and_fails_on_them(scan, tmp_path):
    accepted = tmp_path / "accepted.csv"
    scan(tmp_path / "a", "--write-baseline", accepted, "--fail-over", 1, *JUDGE)
    n = len(pd.read_csv(accepted))
    assert n == json.loads((tmp_path / "a" / "summary.json").read_text())["n_label_issues"] > 1
    result = scan(tmp_path / "b", "--baseline", accepted, *JUDGE)
    assert f"0 new issues, {n} accepted" in result.stdout
    first = pd.read_csv(accepted)["id"][0]
    pd.read_csv(accepted).iloc[1:].to_csv(accepted, index=False)
    result = scan(tmp_path / "c", "--baseline", accepted, *JUDGE, code=1)
    assert f"1 new issue, {n - 1} accepted" in result.stdout
    assert f"new  {first}  " in result.stdout
    assert "1 of 24 labels are new issues (4.17%), over the allowed 0.00%" in result.stderr
    result = scan(tmp_path / "d", "--baseline", accepted, "--fail-over", 0.05, "--json", *JUDGE)
    assert json.loads(result.stdout)["gate"]["new"] == [first]


def test_bad_decisions_and_baselines_are_refused(photos, tmp_path, tiny_clip_dir):
    (tmp_path / "d.csv").write_text(
        "id,action,label\nnowhere.png,keep,\ngreen/red-06.png,relabel,rde\n"
    )

    def fails(*arguments):
        command = ["scan", photos, "-o", tmp_path / "o", "--model", tiny_clip_dir, *arguments]
        result = CliRunner().invoke(app, [str(a) for a in command])
        assert isinstance(result.exception, InputError)  # which `run` turns into status 2
        return str(result.exception)

    (tmp_path / "thesis.csv").write_text("mine\n")
    assert "no baseline; add --force" in fails("--write-baseline", tmp_path / "thesis.csv")
    assert "is a folder; name a file" in fails("--write-baseline", tmp_path)
    assert fails("--fit-rows", 100) == "--fit-rows goes with --engine ray"
    assert not (tmp_path / "o").exists()  # told before anything was scanned
    text = fails("--decisions", tmp_path / "d.csv")
    assert "1 of the ids are not in the data: 'nowhere.png'" in text
    assert "label 'rde' of id 'green/red-06.png' is no class of the data" in text
    assert "did you mean 'red'?" in text
    assert "cannot read the baseline" in fails("--baseline", tmp_path / "no.csv")


@pytest.mark.parametrize("name", ["csv", "cleanlab", "fiftyone", "label-studio", "hf"])
def test_export_of_a_scan(name, scan, tmp_path):
    scan(tmp_path / "out")
    result = run("export", tmp_path / "out", "--format", name, "-o", tmp_path / "x")
    files = result.stdout.splitlines()
    assert files
    assert sorted(map(str, (tmp_path / "x").rglob("*.*"))) == sorted(files)
    with pytest.raises(InputError, match="has no option nonsense"):
        CliRunner().invoke(
            app,
            ["export", str(tmp_path / "out"), "--format", name, "-o", str(tmp_path / "y"),
             "--param", "nonsense=1"],
            catch_exceptions=False,
        )  # fmt: skip
