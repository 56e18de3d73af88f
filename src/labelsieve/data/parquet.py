"""Parquet tables, one file or shards, also as Hugging Face writes them."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa

from ..core.exceptions import InputError
from .class_names import ClassSpec, clean_name, read_classes_json
from .columns import choose_columns
from .folders import files_of_split
from .labels import MISSING
from .listing import Listing, ReadOptions
from .sources import FileSource, ImageSource, ParquetSource, with_parquet
from .tables import table_rule


def read_parquet(
    paths: Sequence[Path | str], options: ReadOptions, *, split_rule: str = ""
) -> Listing:
    """List parquet files (or URLs) with the same columns, whose rows follow each other.

    Image bytes are not read: only names, labels and ids are.

    Raises
    ------
    InputError
        If a file cannot be parsed or a column is missing or ambiguous.
    """
    first = paths[0]
    first_name = first.name if isinstance(first, Path) else first.rpartition("/")[2]
    schema = _schema(first)
    features = class_features(schema)
    images = [name for name, kind in features.items() if kind == "Image"]
    labels = [name for name, kind in features.items() if isinstance(kind, tuple)]
    image, label = choose_columns(
        schema.names, options, what=first_name, images=images, labels=labels
    )
    names, source = _images(paths, schema, image)
    cells, dictionary = (None, None) if label is None else _labels(paths, label)
    declared = features.get(label or "")
    spec = read_classes_json(first.parent) if isinstance(first, Path) else ClassSpec()
    if spec.order is None and dictionary:
        spec = ClassSpec(order=dictionary, origin="the dictionary of the label column")
    shards = f" and {len(paths) - 1} more" if len(paths) > 1 else ""
    has_ids = "id" in schema.names and "id" not in (image, label)
    integer_names = declared if isinstance(declared, tuple) else None
    return Listing(
        file_names=names,
        labels=cells,
        source=source,
        rule=table_rule(first_name + shards, image, label) + split_rule,
        where=str(first),
        ids=_read(paths, "id").to_pylist() if has_ids else None,
        integer_names=integer_names,
        spec=ClassSpec() if integer_names else spec,
    )


def read_shards(folder: Path, paths: Sequence[Path], options: ReadOptions) -> Listing:
    """List a folder of parquet files; ``train-00000-of-00002.parquet`` belongs to split train."""
    files, rule = files_of_split(sorted(paths), options.split, str(folder))
    if not rule and len({path.stem.split("-", 1)[0] for path in files}) > 1:
        names = ", ".join(path.name for path in files[:5])
        raise InputError(f"{folder}: several tables ({names}, ...); give the path of one of them")
    return read_parquet(files, options, split_rule=rule)


def class_features(schema: pa.Schema) -> dict[str, str | tuple[str, ...]]:
    """Hugging Face's features in a schema: "Image", or the names of a class label, by column.

    Parameters
    ----------
    schema : pyarrow.Schema
        Its metadata key `huggingface` holds the features as JSON, if there are any.
    """
    try:
        text = (schema.metadata or {})[b"huggingface"]
        features = json.loads(text)["info"]["features"]
        kinds = {name: (f.get("_type"), f.get("names")) for name, f in features.items()}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}
    found: dict[str, str | tuple[str, ...]] = {}
    for name, (kind, names) in kinds.items():
        if kind == "ClassLabel" and isinstance(names, list) and names:
            found[name] = tuple(str(item) for item in names)
        elif kind == "Image":
            found[name] = "Image"
    return found


def _schema(path: Path | str) -> pa.Schema:
    return _ask(path, lambda file: file.schema_arrow)


def _ask(path: Path | str, question: Callable[[Any], Any]) -> Any:
    """What the end of a file says."""
    try:
        return with_parquet(path, question)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read {path} as parquet: {error}") from error


def _n_rows(paths: Sequence[Path | str]) -> int:
    return sum(_ask(path, lambda file: file.metadata.num_rows) for path in paths)


def _read(paths: Sequence[Path | str], column: str) -> pa.ChunkedArray:
    """One column (or one field of a struct, ``image.path``) of all files."""
    tables = [_ask(path, lambda file: file.read(columns=[column])) for path in paths]
    for path, table in zip(paths, tables, strict=True):
        if not table.num_columns:
            raise InputError(f"{path} has no column {column!r}, which {paths[0]} has")
    try:
        plain = [_without_dictionary(table) for table in tables] if _differ(tables) else tables
        return pa.concat_tables(plain, promote_options="permissive").column(0)
    except pa.ArrowException as error:
        kinds = {str(t.schema.types[0]): p for p, t in zip(paths, tables, strict=True)}
        found = ", ".join(f"{kind} in {path}" for kind, path in kinds.items())
        raise InputError(
            f"column {column!r} has types that do not go together: {found}; write the files alike"
        ) from error


def _differ(tables: Sequence[pa.Table]) -> bool:
    return len({str(table.schema.types[0]) for table in tables}) > 1


def _without_dictionary(table: pa.Table) -> pa.Table:
    kind = table.schema.types[0]
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return table.cast(pa.schema([(table.schema.names[0], kind)]))


def _images(
    paths: Sequence[Path | str], schema: pa.Schema, column: str
) -> tuple[list[str], ImageSource]:
    """File names and the source of an image column of paths, bytes or ``{bytes, path}``."""
    kind = schema.field(column).type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        cells = _read(paths, column).to_pylist()
        return _named(cells), FileSource(os.path.dirname(paths[0]), cells)
    if pa.types.is_struct(kind) and {"bytes", "path"} & {field.name for field in kind}:
        if any(field.name == "path" for field in kind):
            cells = _struct_paths(_read(paths, f"{column}.path"))
        else:
            cells = [None] * _n_rows(paths)
        return _named(cells), ParquetSource(paths, column)
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind):
        return _named([None] * _n_rows(paths)), ParquetSource(paths, column)
    raise InputError(
        f"{paths[0]}: column {column!r} of type {kind} holds no images; name a column of "
        "paths, bytes or {bytes, path} with --image-column (image_column=...)"
    )


def _struct_paths(structs: pa.ChunkedArray) -> list[str | None]:
    return [path for chunk in structs.chunks for path in chunk.field("path").to_pylist()]


def _named(cells: Sequence[str | None]) -> list[str]:
    return [cell or f"row-{row:06d}" for row, cell in enumerate(cells)]


def _labels(paths: Sequence[Path | str], column: str) -> tuple[Any, tuple[str, ...] | None]:
    """Label cells and, of a dictionary column of names, the names in order."""
    values = _read(paths, column)
    names = None
    if pa.types.is_dictionary(values.type):
        kind = values.type.value_type
        if pa.types.is_string(kind) or pa.types.is_large_string(kind):
            chunks = values.unify_dictionaries().chunks
            found = map(
                clean_name, filter(None, chunks[0].dictionary.to_pylist() if chunks else ())
            )
            names = tuple(dict.fromkeys(name for name in found if name not in MISSING))
        values = values.cast(kind)
    return values.to_pandas(integer_object_nulls=True).to_numpy(dtype=object), names
