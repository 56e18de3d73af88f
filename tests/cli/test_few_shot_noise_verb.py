import json

import numpy as np
import pytest
from typer.testing import CliRunner

from labelsieve.cli.main import app
from labelsieve.core.exceptions import InputError
from labelsieve.data import few_shot_noisy, load_images
from labelsieve.prompts import zero_shot_classifier
from labelsieve.tuners.inputs import image_features
from problems import write_colour_tree


@pytest.fixture
def photos(tmp_path):
    return write_colour_tree(tmp_path / "photos")


def noise(photos, *arguments):
    out = photos.parent / "noisy"
    arguments = ["noise", str(photos), "-o", str(out), "--kind", "few-shot", *arguments]
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_only_the_chosen_rows_are_written(photos):
    result = noise(photos, "--shots", 8, "--wrong", 2, "--seed", 5, "--json")
    assert result.exit_code == 0, (result.output, result.exception)
    assert json.loads(result.stdout) == {
        "kind": "few-shot",
        "rate": 0.25,
        "expected_rate": 0.25,
        "realised_rate": 0.25,
        "seed": 5,
    }
    images, written = load_images(photos), load_images(photos.parent / "noisy")
    expected = few_shot_noisy(images.given_labels, 8, 2, random_state=5)
    assert written.ids.tolist() == images.ids[expected.rows].tolist()
    assert written.given_labels.tolist() == expected.labels.tolist()
    assert list(written.class_counts().values()) == [8, 8, 8]
    settings = json.loads((photos.parent / "noisy" / "noise.json").read_text())
    assert {k: settings[k] for k in ("shots", "n_wrong", "wrong_labels", "n_changed")} == {
        "shots": 8, "n_wrong": 2, "wrong_labels": "symmetric", "n_changed": 6,
    }  # fmt: skip


def test_confusions_come_from_the_model(photos, tiny_clip_dir, tiny_backbone):
    (photos / "red" / "red-00.png").write_bytes(b"broken")
    result = noise(photos, "--shots", 4, "--wrong", 1, "--confusions-from", tiny_clip_dir)
    assert result.exit_code == 0, (result.output, result.exception)
    assert "note: not drawn: 1 image that cannot be read" in result.stderr
    images = load_images(photos)
    found = image_features(images, tiny_backbone)
    weights = zero_shot_classifier(tiny_backbone, images.prompt_names).weights.numpy()
    expected = few_shot_noisy(
        np.where(found.ok, images.given_labels, -1),
        4,
        1,
        kind="confusion",
        confusions=found.features @ weights.T,
        random_state=0,
    )
    written = load_images(photos.parent / "noisy")
    assert written.ids.tolist() == images.ids[expected.rows].tolist()
    assert written.given_labels.tolist() == expected.labels.tolist()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--rate", 0.2), "few-shot noise: --rate is for other kinds"),
        (("--normalize",), "--normalize is for other kinds"),
        (("--kind", "symmetric", "--shots", 3), "--shots is for --kind few-shot; leave it out"),
        (("--wrong", 20), "n_wrong must be an integer in 0..16, not 20"),
    ],
)
def test_what_does_not_go_together(photos, arguments, message):
    result = noise(photos, *arguments)
    with pytest.raises(InputError, match=message):
        raise result.exception
    assert not (photos.parent / "noisy").exists()
