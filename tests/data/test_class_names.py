import pytest
from data_helpers import write_tree

from labelsieve.core.exceptions import InputError
from labelsieve.data import load_images, read_class_spec


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c.txt", "\ufeffcat\n\n sea  lion \n"),
        ("c.json", '["cat", "sea lion"]'),
        ("c.json", '{"sea lion": 1, "cat": 0}'),
    ],
)
def test_files_with_an_order(tmp_path, name, text):
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    assert read_class_spec(str(path)).order == ("cat", "sea lion")


def test_words_for_prompts_leave_the_order_alone(tmp_path):
    write_tree(tmp_path, ["n01/1.png", "n02/2.png", "red_fox/3.png"])
    words = tmp_path / "words.json"
    words.write_text('{"n02": "sea lion", "n01": "cat", "n09": "cow"}')
    images = load_images(tmp_path, class_names=words)
    assert images.class_names == ("n01", "n02", "red_fox")
    assert images.prompt_names == ("cat", "sea lion", "red fox")
    assert images.notes[-2:] == (
        "words.json has no words for 1 of the classes: ['red_fox']",
        "words.json has 1 name beside the classes: ['n09']",
    )


def test_words_that_fit_no_class(tmp_path):
    write_tree(tmp_path, ["a/1.png", "b/2.png"])
    with pytest.raises(InputError, match=r"none of its labels is a class; it has \['x'\]"):
        load_images(tmp_path, class_names={"x": "y"})


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("c.json", "{", "class names: cannot read"),
        ("c.json", "3", "c.json: expected a list of class names or an object"),
        ("c.json", '["a", "a"]', r"these class names occur more than once: \['a'\]"),
        ("c.json", '{"a": 0, "b": 2}', "class indices must be 0..1, each once"),
        ("c.json", '{"a": " "}', r"no words are given for \['a'\]"),
        ("c.txt", "one", "at least two classes are needed"),
    ],
)
def test_bad_files(tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match=message):
        read_class_spec(tmp_path / name)


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*give a JSON file \(list, or object"):
        read_class_spec(tmp_path / "none.json")


def test_classes_json_must_be_a_list(tmp_path):
    write_tree(tmp_path, ["a/1.png", "b/2.png"])
    (tmp_path / "classes.json").write_text('{"a": "word"}')
    with pytest.raises(InputError, match="expected a JSON list of class names in class order"):
        load_images(tmp_path)


def test_classes_json_must_name_every_class(tmp_path):
    write_tree(tmp_path, ["a/1.png", "b/2.png"])
    (tmp_path / "classes.json").write_text('["a", "c"]')
    with pytest.raises(InputError, match=r"not among the 2 classes of classes.json: \['b'\]"):
        load_images(tmp_path)
