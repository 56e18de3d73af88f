import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labelsieve.core.exceptions import InputError
from labelsieve.data import read_noise_matrix
from labelsieve.data.noise_matrix import check_noise_matrix, write_noise_matrix

NAMES = ("cat", "sea lion", "7")
MATRIX = np.array([[0.7, 0.2, 0.1], [0, 1, 0], [0.5, 0.05, 0.45]])


@pytest.fixture
def read(tmp_path):
    def reader(text, names=NAMES):
        path = tmp_path / "matrix.csv"
        path.write_text(text, encoding="utf-8")
        return read_noise_matrix(path, names)

    return reader


PLAIN = "0.7,0.2,0.1\n0,1,0\n.5,5e-2,0.45\n"


@pytest.mark.parametrize(
    "text",
    [
        PLAIN,
        "\ufeff" + PLAIN.replace("\n", "\r\n") + "\r\n\r\n",
        PLAIN.replace(",", ";"),
        "cat,sea lion,7\n" + PLAIN,
        "cat,0.7,0.2,0.1\nsea lion,0,1,0\n7,.5,5e-2,0.45",
        ",cat,sea lion,7\ncat,0.7,0.2,0.1\nsea lion,0,1,0\n7,.5,5e-2,0.45",
        "cat,sea lion,7\ncat,0.7,0.2,0.1\nsea lion,0,1,0\n7,.5,5e-2,0.45",
        '7,"cat",  sea lion\n7,0.45,0.5,0.05\nsea  lion,0,0,1\ncat,0.1,0.7,0.2',
        "before\\noisy,7,cat,sea lion\n7,0.45,0.5,0.05\nsea lion,0,0,1\ncat,0.1,0.7,0.2",
    ],
)
def test_with_and_without_names(read, text):
    assert read(text).tolist() == MATRIX.tolist()


@settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(weights=st.lists(st.floats(0, 1), min_size=9, max_size=9), order=st.permutations(NAMES))
def test_what_is_written_is_read_in_any_class_order(tmp_path, weights, order):
    matrix = np.array(weights).reshape(3, 3) + np.eye(3)
    matrix /= matrix.sum(axis=1, keepdims=True)
    write_noise_matrix(tmp_path / "m.csv", matrix, NAMES)
    index = [NAMES.index(name) for name in order]
    assert np.array_equal(read_noise_matrix(tmp_path / "m.csv", order), matrix[index][:, index])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,0\n0,1\n", "expected 3 rows of 3 numbers.*found 2 rows with 2 cells"),
        ("", "found 0 rows with no cells"),
        ("1,0,0\n0,1\n0,0,1\n", "found 3 rows with 2 or 3 cells"),
        ("a,1,0,0,0\nb,0,1,0,0\nc,0,0,1,0\n", "found 3 rows with 5 cells"),
        ("cat,dog,7\n" + PLAIN, r"names of the columns.*lacking \['sea lion'\], unknown \['dog'\]"),
        ("cat,cat,7\n" + PLAIN, r"names of the columns.*lacking \['sea lion'\], unknown \[\]"),
        ("x,1,0,0\ny,0,1,0\nz,0,0,1", "names of the rows are not the classes, each once"),
        ("1,0,0\n0,1,zero\n0,0,\n", r"2 cells hold no number: \['zero', ''\]"),
        ("1,0,0\n0,1.5,-.5\n0,0,.9\n", "2 problems(.|\n)*negative values in row 1;(.|\n)*row 2 "),
    ],
)
def test_bad_files(read, text, message):
    with pytest.raises(InputError, match=message):
        read(text)


def test_a_missing_and_a_binary_file(tmp_path):
    with pytest.raises(InputError, match=r"there is no file .*no\.csv'; give a CSV file"):
        read_noise_matrix(tmp_path / "no.csv", NAMES)
    (tmp_path / "b.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match=r"cannot read .*b\.csv as CSV"):
        read_noise_matrix(tmp_path / "b.csv", NAMES)


@pytest.mark.parametrize(
    ("matrix", "message"),
    [
        ([[1, 0], [0, 1]], r"expected shape \(3, 3\), a row and a column.*but got \(2, 2\)"),
        ([1, 0, 0], r"but got \(3,\)"),
        ([[1, 0, 0], [0, 1]], "not an array of numbers"),
        ("abc", "not an array of numbers"),
        ([[1, 0, 0], [np.nan, 1, 0], [0, 0, np.inf]], "NaN or infinite values in rows 1, 2"),
        ([[1.1, -0.1, 0], [0, 1, 0], [0, 0, 1]], "negative values in row 0; give prob"),
        (
            np.eye(3) * 1.00001,
            r"each row must sum to 1 within 1e-06, unlike rows 0, 1, 2 \(row 0 sums to 1.00001\)",
        ),
        (np.eye(9)[:, ::-1] * 2, "unlike rows 0, 1, 2, 3, 4 and 4 more"),
    ],
)
def test_bad_matrices(matrix, message):
    with pytest.raises(InputError, match=message):
        check_noise_matrix(matrix, 9 if len(matrix) == 9 else 3)


def test_a_rounded_sum_is_accepted_and_the_input_is_left_alone():
    matrix = MATRIX + 3e-7
    checked = check_noise_matrix(matrix, 3)
    checked[:] = 0
    assert matrix[0, 0] == 0.7 + 3e-7
