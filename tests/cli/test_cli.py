"""Every verb from the command line: results, messages and exit codes."""

import io
import json
import logging
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from typer.main import get_command
from typer.testing import CliRunner

from labelsieve.cli.common import SaidOnce, absolute, lasting, parse_params, print_json
from labelsieve.cli.main import app
from labelsieve.cli.main import run as main
from labelsieve.core.exceptions import InputError
from labelsieve.data import NOISE
from labelsieve.detectors import DETECTORS
from labelsieve.sieve.reopen import images_of_scan
from labelsieve.tuners import TUNERS
from labelsieve.visual_tuning import VISUAL_TUNINGS
from problems import write_colour_tree


@pytest.fixture
def photos(tmp_path):
    return write_colour_tree(tmp_path / "photos")


def run(*arguments, code=0):
    result = CliRunner().invoke(app, [str(a) for a in arguments])
    assert result.exit_code == code, (result.output, result.exception)
    return result


def test_help_is_quick_and_lists_the_verbs():
    started = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "labelsieve", "--help"], capture_output=True, text=True, check=True
    )
    assert time.perf_counter() - started < 5  # a guard against importing torch, not a benchmark
    for verb in ("demo", "scan", "tune", "predict", "evaluate", "noise", "report", "cache"):
        assert verb in done.stdout
    code = (
        "import sys, labelsieve.cli.main; "
        "sys.exit(any(m in sys.modules for m in ('torch', 'transformers', 'pandas')))"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize(
    ("verb", "flag", "names"),
    [
        ("scan", "detector", DETECTORS.names()),
        ("scan", "visual_tuning", VISUAL_TUNINGS.names()),
        ("tune", "visual_tuning", VISUAL_TUNINGS.names()),
        ("tune", "tuner", TUNERS.names()),
        ("noise", "kind", [*NOISE.names(), "few-shot"]),
    ],
)
def test_help_names_what_there_is(verb, flag, names):
    """The texts are typed in, since the registries would cost `--help` the import of torch."""
    parameters = get_command(app).commands[verb].params
    text = next(p.help for p in parameters if p.name == flag).rpartition(": ")[2]
    assert re.split(", | or ", text.rstrip(".")) == list(names)


def test_the_docs_have_every_verb_and_every_flag():
    docs = Path(__file__).parents[2] / "docs"
    page = (docs / "cli.md").read_text(encoding="utf-8")
    others = {"analyze": "analysis", "apply": "apply", "bench": "bench", "review": "review"}
    for verb, command in get_command(app).commands.items():
        assert f"| [`{verb}`](" in page
        more = (docs / f"{others[verb]}.md").read_text(encoding="utf-8") if verb in others else ""
        for part in getattr(command, "commands", {verb: command}).values():
            flags = {name for p in part.params for name in p.opts if name.startswith("--")}
            flags -= {"--help", "--verbose", "--quiet"}  # `-h`; `-v` and `-q`
            told = set(re.findall(r"--[a-z][a-z-]*", page + more))
            assert not flags - told, (verb, part.name)


def test_scan_evaluate_predict_report(photos, tmp_path, tiny_clip_dir):
    out = tmp_path / "out"
    result = run("scan", photos, "-o", out, "--model", tiny_clip_dir, "--json")
    summary = json.loads(result.stdout)
    assert summary["n_images"] == 42
    assert "42 images, 3 classes. one folder a class" in result.stderr
    assert (out / "report.html").stat().st_size > 10_000
    run("evaluate", out, photos, "--json")
    run("predict", out, photos, "-o", tmp_path / "p.parquet")
    assert len(pd.read_parquet(tmp_path / "p.parquet")) == 42
    (out / "report.html").unlink()
    run("report", out)
    assert "data:image" in (out / "report.html").read_text()
    run("scan", photos, "-o", tmp_path / "gate", "--model", tiny_clip_dir, "--fail-over", 0, code=1)


def test_tune_and_config_file(photos, tmp_path, tiny_clip_dir):
    config = tmp_path / "c.yaml"
    config.write_text(f"model: {tiny_clip_dir}\nloss: gce\nparam: [epochs=2, q=0.5]\n")
    result = CliRunner().invoke(
        app, ["tune", str(photos), "-o", str(tmp_path / "m"), "--config", str(config)]
    )
    assert isinstance(result.exception, InputError)
    assert "no parameter q" in str(result.exception)
    config.write_text(f"model: {tiny_clip_dir}\nloss: gce\nparam: [epochs=2]\n")
    test = write_colour_tree(tmp_path / "test", seed=1)
    result = run("tune", photos, "-o", tmp_path / "m", "--config", config, "--test", test)
    assert "test accuracy" in result.stdout
    again = ["tune", photos, "-o", tmp_path / "n", "--config", config, "--test", photos]
    same = CliRunner().invoke(app, [str(argument) for argument in again])
    assert "have no splits" in str(same.exception)
    assert not (tmp_path / "n").exists()  # said before the training
    saved = json.loads((tmp_path / "m" / "config.json").read_text())
    assert saved["params"]["loss"] == "gce"
    assert saved["params"]["epochs"] == 2
    config.write_text("modle: x\n")
    failed = run("tune", photos, "-o", tmp_path / "n", "--config", config, code=2)
    assert "modle" in failed.stderr


def test_a_test_set_is_read_and_checked_before_the_training(photos, tmp_path, tiny_clip_dir):
    rows = [(str(path), path.parent.name) for path in sorted(photos.glob("*/*.png"))]
    table = pd.DataFrame(rows, columns=["path", "species"])
    table.to_csv(tmp_path / "train.csv", index=False)
    table[::7].to_csv(tmp_path / "test.csv", index=False)
    table[::7].assign(label="red", truth="x").to_csv(tmp_path / "both.csv", index=False)
    table[["path"]].assign(label="mauve").to_csv(tmp_path / "foreign.csv", index=False)
    table[["path"]].assign(label="").to_csv(tmp_path / "none.csv", index=False)
    (tmp_path / "names.txt").write_text("red\ngreen\nblue\n")
    start = ("tune", tmp_path / "train.csv", "--model", tiny_clip_dir, "--tuner", "zero-shot")
    start += ("--label-column", "species", "--class-names", tmp_path / "names.txt")

    def accuracy(test, out):
        told = run(*start, "-o", tmp_path / out, "--test", tmp_path / test, "--json").stdout
        return {row["class"]: row["n"] for row in json.loads(told)["test"]["per_class"]}

    assert accuracy("test.csv", "a") == {"red": 2, "green": 2, "blue": 2}
    assert accuracy("both.csv", "b") == {"red": 6, "green": 0, "blue": 0}
    for test, message in (("foreign.csv", "mauve"), ("none.csv", "has a label to compare with")):
        words = [str(word) for word in (*start, "-o", tmp_path / "c", "--test", tmp_path / test)]
        assert message in str(CliRunner().invoke(app, words).exception)
        assert not (tmp_path / "c").exists()


def test_images_that_cannot_be_read_are_told_with_the_reason(tmp_path, tiny_clip_dir, caplog):
    """A table whose paths lead nowhere is the commonest slip."""
    table, names = tmp_path / "t.csv", ("red", "green", "blue")
    table.write_text("label, image\n" + "".join(f"{name}, {name}.png\n" for name in names))
    start = ("--model", tiny_clip_dir, "--tuner", "zero-shot")
    result = CliRunner().invoke(app, [*map(str, ("scan", table, "-o", tmp_path / "o", *start))])
    why = "3 of 3 images cannot be read, such as ' red.png': file not found: "
    why += str(tmp_path / " red.png")
    assert why in str(result.exception)
    photos = write_colour_tree(tmp_path / "photos")
    (photos / "red" / "broken.png").write_bytes(b"")
    run("tune", photos, "-o", tmp_path / "m", *start)
    assert "1 of 43 images cannot be read, such as 'red/broken.png': empty file" in caplog.text
    run("evaluate", tmp_path / "m", photos)
    assert "counted as wrong: 1 image that cannot be read" in caplog.text


def test_a_config_file_takes_the_names_of_flags_and_a_single_value(tmp_path):
    config = tmp_path / "c.yaml"
    config.write_text(f"write-baseline: {tmp_path / 'b.csv'}\nparam: epochs=2\nseed: 7\n")
    context = (
        get_command(app)
        .commands["scan"]
        .make_context("scan", ["d", "-o", "o", "--config", str(config)])
    )
    assert context.params["new_baseline"] == tmp_path / "b.csv"
    assert list(context.params["param"]) == ["epochs=2"]
    assert context.params["seed"] == 7


def test_a_linked_table_is_found_again(photos, tmp_path, tiny_clip_dir, monkeypatch):
    """A table in the hub's cache is a link to a file without an ending."""
    rows = [(path.read_bytes(), path.parent.name) for path in sorted(photos.glob("*/*.png"))]
    table = pd.DataFrame(rows, columns=["image", "label"])
    table.to_parquet(tmp_path / "blob.parquet")
    (tmp_path / "blob.parquet").rename(tmp_path / "0a1b")
    (tmp_path / "train.parquet").symlink_to("0a1b")
    monkeypatch.chdir(tmp_path)
    cheap = ("--model", tiny_clip_dir, "--detector", "label-match", "--tuner", "zero-shot")
    run("scan", "train.parquet", "-o", "out", *cheap)
    found, problem = images_of_scan(tmp_path / "out")
    assert problem is None
    assert found.read_bytes(3) == rows[3][0]


def test_where_data_are_is_recorded_for_any_folder(tmp_path, monkeypatch):
    (tmp_path / "names.json").write_text("[]")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert lasting("names.json") == str(tmp_path / "names.json")
    assert lasting("~/names.json") == absolute("~/names.json") == str(tmp_path / "names.json")
    assert lasting("s-{0..3}.tar") == str(tmp_path / "s-{0..3}.tar")
    for other in ("s3://bucket/s-{0..3}.tar", "https://host/t.csv", "owner/name"):
        assert lasting(other) == other


def test_quiet_says_only_what_failed(photos, tmp_path):
    (photos / "red" / "notes.txt").write_text("no image")
    loud = run("noise", photos, "-o", tmp_path / "a").stderr
    assert "42 images, 3 classes" in loud
    assert "note: skipped 1 file without an image extension" in loud
    assert run("noise", photos, "-o", tmp_path / "b", "-q").stderr == ""
    assert run("noise", photos, "-o", tmp_path / "c", "--verbose").stderr == loud


def test_noise_is_readable_again(photos, tmp_path):
    arguments = ("--kind", "pair-flip", "--rate", 0.25, "--seed", 3, "--json")
    result = run("noise", photos, "-o", tmp_path / "noisy", *arguments)
    assert json.loads(result.stdout)["realised_rate"] == pytest.approx(10 / 42)
    table = pd.read_parquet(tmp_path / "noisy" / "metadata.parquet")
    assert (table["label"] != table["label_before_noise"]).sum() == 10


def test_cache_ls_and_rm(photos, tmp_path, tiny_clip_dir):
    run("scan", photos, "-o", tmp_path / "o", "--model", tiny_clip_dir, "--tuner", "zero-shot")
    entries = json.loads(run("cache", "ls", "--json").stdout)
    assert [entry["images"] for entry in entries] == [42]
    assert "42 images" in run("cache", "ls").stdout
    refused = run("cache", "rm", entries[0]["key"], "other", code=1)
    assert "the cache holds no 'other'; it holds" in str(refused.exception)
    assert json.loads(run("cache", "ls", "--json").stdout) == entries  # nothing was removed
    run("cache", "rm", entries[0]["key"], entries[0]["model_id"])
    assert json.loads(run("cache", "ls", "--json").stdout) == []


def test_a_scan_names_images_whole_counts_labels_and_gives_commands_to_paste(
    photos, tmp_path, tiny_clip_dir, monkeypatch
):
    deep = "a folder of some session " * 2
    for folder in list(photos.iterdir()):
        folder.rename(photos / "moved")
        (photos / folder.name).mkdir()
        (photos / "moved").rename(photos / folder.name / deep)
    (photos / "red" / "broken.png").write_bytes(b"")
    shutil.copy(photos / "red" / deep / "red-00.png", photos / "no-label.png")
    monkeypatch.setenv("COLUMNS", "60")
    out = tmp_path / "my out"
    told = run(
        "scan", photos, "-o", out, "--model", tiny_clip_dir, "--tuner", "zero-shot",
        "--detector", "label-match", "--fail-over", 0, code=1,
    )  # fmt: skip
    issues = pd.read_parquet(out / "issues.parquet").query("is_label_issue")
    assert f"{len(issues)} of 42 labels look wrong  (estimated" in told.stdout
    assert f"{len(issues)} of 42 labels look wrong ({len(issues) / 42:.2%})" in told.stderr
    assert "1 image cannot be read" in told.stdout
    cells = [line.split("│")[1] for line in told.stdout.splitlines() if line.startswith("│")]
    shown = "".join("".join(cells).split())
    names = ["".join(name.split()) for name in issues["id"]]
    assert sum(name in shown for name in names) == min(len(names), 10)
    assert f"(labelsieve predict {shlex.quote(str(out))} IMAGES -o FILE)" in told.stdout


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_names_that_the_terminal_cannot_show_end_no_command(tmp_path, monkeypatch, encoding):
    """It had done its work, and ended with a traceback and status 1, "too many issues"."""
    monkeypatch.setenv("LABELSIEVE_CACHE", str(tmp_path / "日本\udcff"))
    monkeypatch.setattr("sys.argv", ["labelsieve", "cache", "ls"])
    stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr("sys.stdout", stdout)
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    name = "日本" if encoding == "utf-8" else r"\u65e5\u672c"
    stdout.flush()
    assert f"{name}\\udcff" in stdout.buffer.getvalue().decode(encoding)


@pytest.mark.parametrize("encoding", ["cp1252", "utf-8"])
def test_json_can_be_read_in_any_encoding(monkeypatch, encoding):
    stdout = io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="backslashreplace")
    monkeypatch.setattr("sys.stdout", stdout)
    print_json({"class": "日本 🐈 é"})
    stdout.flush()
    text = stdout.buffer.getvalue().decode(encoding)
    assert json.loads(text) == {"class": "日本 🐈 é"}
    assert ("日本" in text) == (encoding == "utf-8")


def test_a_warning_is_said_once():
    once = SaidOnce()

    def record(level, text):
        return logging.LogRecord("labelsieve", level, "", 0, "%s", (text,), None)

    texts = [(logging.WARNING, "long"), (logging.WARNING, "other"), (logging.WARNING, "long")]
    assert [once.filter(record(*one)) for one in texts] == [True, True, False]
    assert once.filter(record(logging.INFO, "epoch"))
    assert once.filter(record(logging.INFO, "epoch"))


def test_errors_end_with_status_2_and_say_what_to_do(tmp_path):
    def fails(*arguments):
        done = subprocess.run(
            [sys.executable, "-m", "labelsieve", *map(str, arguments)],
            capture_output=True,
            text=True,
        )
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        return done.stderr

    assert "there is no file or folder" in fails("scan", tmp_path / "no", "-o", tmp_path / "o")
    (tmp_path / "empty").mkdir()
    fails("scan", tmp_path / "empty", "-o", tmp_path / "o")
    write_colour_tree(tmp_path / "photos")
    message = fails("scan", tmp_path / "photos", "-o", tmp_path / "o", "--model", "openai/nothing")
    assert "mini-glyph" in message


def test_a_place_that_cannot_be_written_ends_with_status_2(photos, tmp_path, monkeypatch, capsys):
    """Status 1 would read as "too many issues", and a traceback says nothing of what to do."""
    (tmp_path / "file").write_text("")
    words = ["labelsieve", "noise", photos, "-o", tmp_path / "file" / "noisy"]
    monkeypatch.setattr("sys.argv", [str(word) for word in words])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "error: [Errno" in said
    assert str(tmp_path / "file") in said
    assert "see whether there is room and the place can be read and written" in said


def test_parameters_are_read_as_values():
    assert parse_params(["a=1", "b=1e-3", "c=true", "d=dspt", "e=null", "f-g=0.5"]) == {
        "a": 1, "b": 0.001, "c": True, "d": "dspt", "e": None, "f_g": 0.5,
    }  # fmt: skip
    with pytest.raises(InputError, match="NAME=VALUE, not 'x'"):
        parse_params(["x"])
