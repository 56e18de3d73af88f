"""Which column holds the images and which the labels."""

from __future__ import annotations

from collections.abc import Sequence

from ..core.exceptions import InputError
from .listing import ReadOptions

IMAGE_COLUMNS = (
    *("image", "file_name", "img", "filename", "file", "path", "image_path", "img_path"),
    *("file_path", "filepath", "image_file", "image_name", "images", "imgs", "photo", "picture"),
)
LABEL_COLUMNS = (
    *("label", "labels", "class", "target", "category", "class_name", "given_label"),
    *("class_label", "label_name", "targets", "classes", "y"),
)
_OUTRIGHT = {"image": ("image", "file_name"), "label": ("label",)}
_GUESSES = {"image": IMAGE_COLUMNS, "label": LABEL_COLUMNS}


def choose_columns(
    columns: Sequence[str],
    options: ReadOptions,
    *,
    what: str,
    images: Sequence[str] = (),
    labels: Sequence[str] = (),
) -> tuple[str, str | None]:
    """The image column and the label column of a table; see `choose_column`.

    There need be no label column where the classes are given, and none is looked for where labels
    are not wanted.

    Parameters
    ----------
    columns : sequence of str
        The columns of the table.
    options : ReadOptions
        What the user gave.
    what : str
        The table's name, for errors.
    images, labels : sequence of str
        Columns that the schema declares as images and as class labels.
    """
    image = choose_column("image", columns, options.image_column, typed=images, what=what)
    if not options.labels:
        return str(image), None
    required = options.class_names is None
    label = choose_column(
        "label", columns, options.label_column, typed=labels, what=what, required=required
    )
    return str(image), label


def choose_column(
    kind: str,
    columns: Sequence[str],
    asked: str | None = None,
    *,
    typed: Sequence[str] = (),
    what: str = "the table",
    required: bool = True,
) -> str | None:
    """Find the image or the label column of a table.

    The column that was asked for; else "image" (or "file_name"), respectively "label"; else the
    only column with another usual name; else the only column whose declared type fits.

    Parameters
    ----------
    kind : {"image", "label"}
    columns : sequence of str
        The columns of the table.
    asked : str, optional
        What the user gave.
    typed : sequence of str
        Columns that the schema declares as images, respectively class labels.
    what : str
        The table's name, for errors.
    required : bool
        When False, None is returned if no column is found.

    Raises
    ------
    InputError
        If the column is missing or several fit; the message lists the columns and the flag.

    Examples
    --------
    >>> choose_column("label", ["img", "target", "note"])
    'target'
    """
    flag = f"--{kind}-column ({kind}_column=...)"
    listing = ", ".join(map(repr, columns)) or "none"
    if asked is not None:
        if asked not in columns:
            raise InputError(f"{what} has no column {asked!r}; its columns are {listing}")
        return asked
    plain = {column.strip().casefold(): column for column in columns}
    for name in _OUTRIGHT[kind]:
        if name in plain:
            return plain[name]
    found = [plain[name] for name in _GUESSES[kind] if name in plain] or list(typed)
    if len(found) == 1:
        return found[0]
    if not found and not required:
        return None
    problem = f"several columns may hold {kind}s: {found}" if found else f"no {kind} column found"
    raise InputError(f"{what}: {problem}; name one with {flag}; its columns are {listing}")
