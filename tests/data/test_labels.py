import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labelsieve.core.exceptions import InputError
from labelsieve.data.class_names import ClassSpec
from labelsieve.data.labels import check_given_labels, encode_labels


def spec(*order):
    return ClassSpec(order=order, origin="the list")


@settings(deadline=None, max_examples=60)
@given(st.lists(st.sampled_from(["a", "b 1", "b 10", "b 2", "猫"]), min_size=1))
def test_names_come_back(names):
    encoded = encode_labels(names)
    assert [encoded.class_names[k] for k in encoded.labels] == names
    assert list(encoded.class_names) == [n for n in ["a", "b 1", "b 2", "b 10", "猫"] if n in names]


def test_integers_without_names_become_names():
    encoded = encode_labels(np.array([10, 2, 2, -1]))
    assert encoded.class_names == ("2", "10")
    assert encoded.labels.tolist() == [1, 0, 0, -1]


@pytest.mark.parametrize("values", [[1, 0], ["1", "0"], [1.0, 0.0], [1, None], [1.0, np.nan]])
def test_integers_are_indices_into_a_list(values):
    encoded = encode_labels(np.array(values, dtype=object), spec=spec("cat", "dog"))
    assert encoded.labels[0] == 1
    assert encoded.labels[1] in (0, -1)
    assert encoded.order_rule == "class order from the list"


def test_integers_that_are_in_the_list_are_names():
    assert encode_labels([1, 0], spec=spec("1", "0")).labels.tolist() == [0, 1]


def test_booleans_are_names():
    assert encode_labels([True, False]).class_names == ("False", "True")


def test_missing_texts_are_classes_when_listed():
    values = np.array(["nan", "-1", "", None, "x"], dtype=object)
    assert encode_labels(values, spec=spec("nan", "-1", "x")).labels.tolist() == [0, 1, -1, -1, 2]
    assert encode_labels(values).labels.tolist() == [-1, -1, -1, -1, 0]


def test_case_insensitive_words_that_look_missing_are_names():
    assert encode_labels(["NA", "None", "null"]).class_names == ("NA", "None", "null")


@pytest.mark.parametrize(
    ("values", "order", "text"),
    [
        (
            ["cat", "cow"],
            ("cat", "dog"),
            r"1 labels are not among the 2 classes of the list: \['cow",
        ),
        ([0, 2], ("cat", "dog"), r"do not fit the 2 classes of the list, integers in 0..1"),
        ([0, 1], ("1", "dog"), r"1 labels are not among the 2 classes of the list: \['0'\]"),
        ([b"x", b"y"], None, "is neither a name nor an integer"),
        ([["a", "b"], ["c"]], None, "a label cell holds several values"),
        ([1.5, 2], None, "label 1.5 is a fraction"),
    ],
)
def test_bad_labels(values, order, text):
    cells = np.empty(len(values), dtype=object)
    cells[:] = values
    with pytest.raises(InputError, match=text):
        encode_labels(cells, spec=spec(*order) if order else None)


def test_check_given_labels():
    assert check_given_labels([0, -1], 2).tolist() == [0, -1]
    with pytest.raises(InputError, match=r"expected indices 0..1, but got -2..0"):
        check_given_labels([0, -2], 2)
    with pytest.raises(InputError, match=r"expected shape \(3,\)"):
        check_given_labels([0, 1], 2, 3)
    with pytest.raises(InputError, match="expected integer class indices, but got dtype float64"):
        check_given_labels([0.5], 2)
