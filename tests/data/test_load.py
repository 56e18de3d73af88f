import subprocess
import sys

import pytest
from data_helpers import write_tree

from labelsieve.core.exceptions import InputError
from labelsieve.data import load_images
from labelsieve.data.load import would_be_data
from labelsieve.sieve.predict import predict_file


def test_labeled_images_are_returned_as_they_are(tmp_path):
    images = load_images(write_tree(tmp_path, ["a/1.png", "b/2.png"]))
    assert load_images(images) is images


@pytest.mark.parametrize(
    ("data", "text"),
    [
        ("no/such/folder", "there is no file or folder 'no/such/folder'; give the path"),
        ("images/labels.csv", "there is no file or folder 'images/labels.csv'"),
        (3, "data must be a path, a hub id or a data set, not builtins.int"),
    ],
)
def test_what_is_not_there(data, text):
    with pytest.raises(InputError, match=text):
        load_images(data)


def test_importing_the_layer_does_not_import_torch():
    code = "import sys, labelsieve.data; print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "False\n"


def test_a_new_table_that_would_take_the_place_of_the_images(tmp_path):
    flat, tree = write_tree(tmp_path / "flat", ["1.png"]), write_tree(tmp_path / "t", ["a/1.png"])
    assert would_be_data(flat / "p.parquet", str(flat))
    assert not would_be_data(flat / "inside" / "p.parquet", flat)
    assert not would_be_data(tree / "p.parquet", tree)
    assert not would_be_data(tmp_path / "p.parquet", flat)
    with pytest.raises(InputError, match=r"p\.parquet lies among the images of .*name a file else"):
        predict_file(tmp_path / "model", flat, flat / "p.parquet")
