"""Readers that go, and names that could be taken for several."""

import subprocess
import sys
from pathlib import Path

import pytest

from labelsieve.cli.common import describe, parse_params
from labelsieve.data import load_images
from problems import write_colour_tree

VERB = """
import sys, typer
from labelsieve.cli import main
from labelsieve.core.exceptions import InputError

def verb():
    from rich.console import Console
    for number in range(300):
        typer.echo("x" * 1000, err=sys.argv[1] == "stderr")
    Console().print("y" * 1000)
    print("z" * 1000)
    open(sys.argv[3], "w").write("done")
    if sys.argv[2] == "2":
        raise InputError("wrong")
    sys.exit(int(sys.argv[2]))

main.app = verb
main.run()
"""


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
@pytest.mark.parametrize("status", [0, 1, 2])
def test_a_reader_that_goes_changes_neither_the_work_nor_its_status(stream, status, tmp_path):
    """As in `labelsieve scan ... | head -1`: 1 would be a gate that is not passed."""
    other = "stderr" if stream == "stdout" else "stdout"
    process = subprocess.Popen(
        [sys.executable, "-c", VERB, stream, str(status), str(tmp_path / "mark")],
        **{stream: subprocess.PIPE, other: subprocess.DEVNULL},
    )
    pipe = getattr(process, stream)
    assert pipe.readline().strip() == b"x" * 1000
    pipe.close()
    assert process.wait(60) == status
    assert (tmp_path / "mark").read_text() == "done"


def test_a_full_disk_is_still_an_error():
    if not Path("/dev/full").exists():
        pytest.skip("no device that is always full")
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-m", "labelsieve", "--version"],
            stdout=full, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
    assert done.returncode == 2
    assert "No space left on device" in done.stderr


def test_what_arrives_is_what_is_written(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "labelsieve", "--version"], capture_output=True, check=True
    )
    assert done.stdout.startswith(b"labelsieve ")
    assert done.stdout.count(b"\n") == 1


def test_class_names_with_commas_are_told_apart(tmp_path, capsys):
    write_colour_tree(tmp_path, per_class=3)
    (tmp_path / "red").rename(tmp_path / "red, dark")
    describe(load_images(tmp_path))
    said = capsys.readouterr().err
    assert "given labels: blue 3, green 3, 'red, dark' 3\n" in said


def test_a_text_in_quotes_stays_a_text():
    read = parse_params(["""a="5" """, "b='1e-3'", "c=5", "d='x'", "e= 1e-3"])
    assert read == {"a": "5", "b": "1e-3", "c": 5, "d": "x", "e": 0.001}
    assert isinstance(read["c"], int)
