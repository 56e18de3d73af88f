"""Write `report.html` into the output folder of a scan."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from ..core.exceptions import InputError
from ..core.serialization import write_text
from ..core.validation import check_number
from .confusion import class_table, matrix_views, top_pairs
from .counts import flagged_rows
from .gallery import gallery_payload, unreadable_files
from .overview import headline, score_histogram
from .page import render
from .provenance import data_facts, run_facts
from .scan_folder import ScanResult, read_scan
from .thumbnails import ImageSource, embed_thumbnails

REPORT = "report.html"


def write_report(
    folder: str | PathLike[str],
    *,
    images: ImageSource | None = None,
    max_thumbnails: int = 400,
    thumbnail_size: int = 112,
) -> Path:
    """Write the report of a scan as one HTML file that opens from disk without a network.

    Parameters
    ----------
    folder : path
        The output folder of `labelsieve scan`.
    images : LabeledImages, optional
        The scanned images, in the row order of `issues.parquet`. Without them the report has
        placeholders in place of thumbnails.
    max_thumbnails : int
        At most this many thumbnails are embedded, those of the worst labels.
    thumbnail_size : int
        Longest side of an embedded thumbnail, in pixels.

    Returns
    -------
    pathlib.Path
        The file written, `folder/report.html`.

    Raises
    ------
    InputError
        If the folder is not the output of a finished scan, or an argument is out of range.

    Examples
    --------
    >>> from labelsieve import load_images  # doctest: +SKIP
    >>> write_report("out/", images=load_images("photos/"))  # doctest: +SKIP
    PosixPath('out/report.html')
    """
    check_number(max_thumbnails, name="max_thumbnails", low=0, integer=True)
    check_number(thumbnail_size, name="thumbnail_size", low=16, high=1024, integer=True)
    scan = read_scan(Path(folder))
    _check_images(images, scan)
    flagged = flagged_rows(scan.issues)
    payload = gallery_payload(scan, flagged, images)
    shown = [int(row) for row in flagged.index[: len(payload["row"])]]
    payload["thumbs"] = embed_thumbnails(images, shown[:max_thumbnails], size=thumbnail_size)
    html = render(
        payload,
        headline=headline(scan),
        histogram=score_histogram(scan.counts),
        gallery={
            "n_flagged": scan.counts.n_flagged,
            "n_embedded": len(shown),
            "n_thumbnails": sum(thumb is not None for thumb in payload["thumbs"]),
            "size": thumbnail_size,
        },
        pairs=top_pairs(scan),
        matrices=matrix_views(scan),
        class_table=class_table(scan),
        unreadable=unreadable_files(scan, images),
        data=data_facts(scan),
        run=run_facts(scan),
    )
    path = scan.folder / REPORT
    write_text(path, html)
    return path


def _check_images(images: ImageSource | None, scan: ScanResult) -> None:
    if images is not None and len(images) != scan.counts.n_rows:
        raise InputError(
            f"images has {len(images):,} rows, but {scan.folder / 'issues.parquet'} has "
            f"{scan.counts.n_rows:,}; give the images that were scanned, in the same order"
        )
