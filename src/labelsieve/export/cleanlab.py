"""Label issues in the columns of cleanlab's Datalab."""

from __future__ import annotations

from pathlib import Path

from ..core.serialization import atomic_path
from ..detectors.issues import write_csv
from .scanned import read_scanned

COLUMNS = ("is_label_issue", "label_score", "given_label", "predicted_label")


def export_cleanlab(source: Path, out: Path) -> list[Path]:
    """Write the table that ``Datalab.get_issues("label")`` would return, as CSV and parquet.

    Its columns are is_label_issue, label_score (low = worse, as here), given_label and
    predicted_label, one row an image in the order of the data, followed by id and file_name.

    Parameters
    ----------
    source : Path
        Folder of a scan.
    out : Path
        Folder for ``label_issues.csv`` and ``label_issues.parquet``.

    Returns
    -------
    list of Path
        The files written.

    Raises
    ------
    InputError
        If `source` is no finished scan.
    """
    table = read_scanned(source, with_images=False).table.loc[:, [*COLUMNS, "id", "file_name"]]
    written = [out / "label_issues.csv", out / "label_issues.parquet"]
    with atomic_path(written[0]) as partial:
        write_csv(table, partial)
    with atomic_path(written[1]) as partial:
        table.to_parquet(partial, index=False)
    return written
