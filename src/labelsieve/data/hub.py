"""Hugging Face data sets: in memory, saved to disk, or on the hub (needs `datasets`)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..core.exceptions import InputError, MissingExtraError
from .columns import choose_columns
from .folders import choose_split, refuse_split
from .listing import Listing, ReadOptions
from .sources import DatasetSource
from .tables import table_rule


def is_saved_dataset(folder: Path) -> bool:
    """Whether `datasets` saved a data set (or several splits of one) in a folder."""
    if (folder / "dataset_dict.json").is_file():
        return True
    return (folder / "dataset_info.json").is_file() and (folder / "state.json").is_file()


def is_dataset(data: Any) -> bool:
    """Whether an object is a data set of the `datasets` library, without importing it."""
    kinds = {f"{kind.__module__.split('.')[0]}.{kind.__name__}" for kind in type(data).__mro__}
    return bool(kinds & {"datasets.Dataset", "datasets.DatasetDict", "datasets.IterableDataset"})


def read_saved(folder: Path, options: ReadOptions) -> Listing:
    """List a data set that `datasets` saved to disk.

    Raises
    ------
    MissingExtraError
        If `datasets` is not installed.
    InputError
        If it cannot be read.
    """
    datasets = _datasets(f"{folder} is a saved Hugging Face data set")
    try:
        dataset = datasets.load_from_disk(str(folder))
    except Exception as error:  # `datasets` raises many kinds
        raise InputError(f"cannot read the data set saved in {folder}: {error}") from error
    return read_dataset(dataset, options, where=str(folder))


def read_hub(name: str, options: ReadOptions) -> Listing:
    """List a data set of the hub, ``owner/name``; downloaded unless `offline`.

    Raises
    ------
    MissingExtraError
        If `datasets` is not installed.
    InputError
        If it cannot be had.
    """
    datasets = _datasets(f"there is no file or folder {name!r}, and to read it from the hub")
    try:
        with _network(datasets, not options.offline):
            dataset = datasets.load_dataset(name)
    except Exception as error:  # network, authorisation, format: many kinds
        reason = " ".join(str(error).split())[:300]
        way = "; it is not in the cache and offline was asked for" if options.offline else ""
        raise InputError(
            f"there is no file or folder {name!r}, and as a data set of the hub it cannot be "
            f"loaded{way}: {reason}"
        ) from error
    return read_dataset(dataset, options, where=name)


def read_dataset(dataset: Any, options: ReadOptions, *, where: str = "the data set") -> Listing:
    """List a `datasets.Dataset`, or the chosen split of a `datasets.DatasetDict`.

    Raises
    ------
    InputError
        If the split or a column is missing or ambiguous.
    """
    datasets = _datasets(f"{where} is a Hugging Face data set")
    split_rule = ""
    if isinstance(dataset, dict):
        chosen = choose_split(list(dataset), options.split, where)
        dataset, split_rule = dataset[chosen], f", split {chosen!r}"
    else:
        refuse_split(where, options.split)
    if not isinstance(dataset, datasets.Dataset):
        raise InputError(f"{where}: a {type(dataset).__name__} cannot be listed; give a Dataset")
    image, label = _columns(dataset, datasets, options, where)
    try:
        stored = dataset.with_format(None).cast_column(image, datasets.Image(decode=False))
    except Exception as error:  # of pyarrow or of `datasets`, by the type of the column
        raise InputError(
            f"{where}: column {image!r} of type {dataset.features[image]} holds no images; name "
            "another with --image-column (image_column=...)"
        ) from error
    has_ids = "id" in dataset.column_names and "id" not in (image, label)
    return Listing(
        file_names=_file_names(stored, image),
        labels=None if label is None else _column(stored, label),
        source=DatasetSource(stored.select_columns([image]), image),
        rule=table_rule(f"{where} (Hugging Face data set)", image, label) + split_rule,
        where=where,
        ids=_column(stored, "id") if has_ids else None,
        integer_names=_names(dataset.features.get(label), datasets),
    )


@contextmanager
def _network(datasets: Any, allowed: bool) -> Iterator[None]:
    """Keep `datasets` to its cache for a moment; its offline switch is process-wide only."""
    before = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = before or not allowed
    try:
        yield
    finally:
        datasets.config.HF_HUB_OFFLINE = before


def _datasets(why: str) -> Any:
    try:
        import datasets
    except ImportError as error:
        raise MissingExtraError(
            f"{why} needs the `datasets` library: pip install 'labelsieve[datasets]'"
        ) from error
    return datasets


def _columns(
    dataset: Any, datasets: Any, options: ReadOptions, where: str
) -> tuple[str, str | None]:
    columns, features = dataset.column_names, dataset.features
    images = [name for name in columns if isinstance(features[name], datasets.Image)]
    labels = [name for name in columns if isinstance(features[name], datasets.ClassLabel)]
    return choose_columns(columns, options, what=where, images=images, labels=labels)


def _column(dataset: Any, name: str) -> Any:
    return dataset.select_columns([name]).with_format("arrow")[:][name].to_pylist()


def _file_names(dataset: Any, image: str) -> list[str]:
    """The `path` field of all rows, without the bytes."""
    flat = dataset.select_columns([image]).flatten()
    paths = _column(flat, f"{image}.path")
    return [path or f"row-{row:06d}" for row, path in enumerate(paths)]


def _names(feature: Any, datasets: Any) -> tuple[str, ...] | None:
    return tuple(feature.names) if isinstance(feature, datasets.ClassLabel) else None
