import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from labelsieve.cli.main import app
from labelsieve.core.exceptions import InputError
from labelsieve.data import NOISE, inject_noise, load_images
from problems import write_colour_tree


@pytest.fixture
def photos(tmp_path):
    return write_colour_tree(tmp_path / "photos")


def noise(photos, *arguments):
    out = photos.parent / "noisy"
    return CliRunner().invoke(app, ["noise", str(photos), "-o", str(out), *map(str, arguments)])


def read_json(result):
    assert result.exit_code == 0, (result.output, result.exception)
    return json.loads(result.stdout)


def test_help_lists_the_kinds():
    text = CliRunner().invoke(app, ["noise", "--help"], env={"COLUMNS": "200"}).output
    for kind in NOISE.names():
        assert kind in text


def test_instance_dependent(photos):
    arguments = ("--kind", "instance-dependent", "--rate", 0.4, "--seed", 3, "--normalize")
    result = read_json(noise(photos, *arguments, "--json"))
    images = load_images(photos)
    expected = inject_noise(
        images.given_labels,
        3,
        kind="instance-dependent",
        rate=0.4,
        images=images,
        normalize=True,
        random_state=3,
    )
    assert result == {
        "kind": "instance-dependent",
        "rate": 0.4,
        "expected_rate": expected.expected_rate,
        "realised_rate": expected.realised_rate,
        "seed": 3,
    }
    written = load_images(photos.parent / "noisy")
    assert written.given_labels.tolist() == expected.labels.tolist()


def test_unreadable_images_are_told(photos):
    (photos / "red" / "red-00.png").write_bytes(b"")
    result = noise(photos, "--kind", "instance-dependent")
    assert "note: 1 labelled images could not be read and keep their label" in result.stderr
    assert "% of the labels (expected " in result.stdout


def test_class_dependent(photos):
    path = photos.parent / "matrix.csv"
    path.write_text(",red,green,blue\ngreen,0,1,0\nred,0,1,0\nblue,0,0,1\n")
    result = read_json(noise(photos, "--kind", "class-dependent", "--matrix", path, "--json"))
    assert result["rate"] is None
    assert result["expected_rate"] == pytest.approx(1 / 3)
    assert result["realised_rate"] == pytest.approx(1 / 3)
    table = pd.read_parquet(photos.parent / "noisy" / "metadata.parquet")
    pairs = table.groupby("label_before_noise")["label"].unique().map(list).to_dict()
    assert pairs == {"blue": ["blue"], "green": ["green"], "red": ["green"]}


def test_the_default_is_symmetric_noise_on_a_fifth(photos):
    result = read_json(noise(photos, "--json"))
    assert result["kind"] == "symmetric"
    assert result["rate"] == result["expected_rate"] == 0.2
    assert result["realised_rate"] == 8 / 42


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--kind", "class-dependent"), "no matrix; give .* --matrix FILE"),
        (("--kind", "class-dependent", "--rate", 0.2, "--matrix", "M"), "the matrix decides how"),
        (("--matrix", "M"), "only class-dependent noise takes one"),
        (("--normalize",), "only instance-dependent noise looks at pixels"),
        (("--kind", "class-dependent", "--matrix", "gone.csv"), "there is no file 'gone.csv'"),
        (("--kind", "pairflip"), "few-shot. Did you mean 'pair-flip'"),
    ],
)
def test_what_does_not_go_together(photos, arguments, message):
    path = photos.parent / "matrix.csv"
    path.write_text("1,0,0\n0,1,0\n0,0,1\n")
    result = noise(photos, *(path if argument == "M" else argument for argument in arguments))
    assert isinstance(result.exception, InputError)
    assert result.exception.args[0].startswith(("class-", "symmetric", "noise matrix", "--kind"))
    with pytest.raises(InputError, match=message):
        raise result.exception
    assert not (photos.parent / "noisy").exists()
