"""Small images and data sets for the tests of this folder."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

HF_LABELS = (
    '{"info": {"features": {"image": {"_type": "Image"}, '
    '"label": {"_type": "ClassLabel", "names": ["dog", "cat"]}}}}'
)


def encode(image: Image.Image, kind: str = "PNG", **options) -> bytes:
    buffer = BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(grey: int = 0) -> bytes:
    """A 2 x 2 image whose grey value tells it apart."""
    return encode(Image.new("RGB", (2, 2), (grey, grey, grey)))


def write_tree(root: Path, names: list[str]) -> Path:
    """One PNG a name; the grey value is the position in the list."""
    for grey, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(grey))
    return root


def write_parquet(path: Path, columns: dict, metadata: str | None = None, **options) -> Path:
    table = pa.table(columns)
    if metadata is not None:
        table = table.replace_schema_metadata({"huggingface": metadata})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, **options)
    return path


def structs(n: int, *, path: str | None = "img{}.png") -> pa.StructArray:
    """n embedded images; the grey value is the row."""
    rows = [{"bytes": png(i), "path": None if path is None else path.format(i)} for i in range(n)]
    return pa.array(rows, pa.struct([("bytes", pa.binary()), ("path", pa.string())]))
