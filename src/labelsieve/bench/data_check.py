"""Whether the data sets of a suite are there, and have the shape that it states."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..core.exceptions import InputError, LabelSieveError
from .sources import DIGITS, ROOT, Places, all_training_images, test_images
from .suite import DataSpec, Suite

PROBE_SECONDS = 4.0


@dataclass(frozen=True)
class Finding:
    """What was found of a data set.

    Attributes
    ----------
    data : str
        Its name in the suite.
    state : {"ok", "wrong", "unseen"}
        "unseen" is data that could not be looked at: no data root, no network, no access.
    text : str
        In words.
    """

    data: str
    state: str
    text: str


def check_data(suite: Suite, data_root: str | None = None) -> Iterator[Finding]:
    """Look at every data set of a suite; images on the hub are not downloaded.

    Parameters
    ----------
    suite : Suite
    data_root : str, optional
        What "${root}" stands for.
    """
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        places = Places(Path(folder), data_root)
        for data in suite.data.values():
            try:
                yield _look(data, places)
            except LabelSieveError as error:
                yield Finding(data.name, "unseen", " ".join(str(error).split())[:300])


def _look(data: DataSpec, places: Places) -> Finding:
    if data.train == DIGITS or ROOT in data.train or Path(places.path(data.train)).exists():
        found = _local_shape(data, places)
    elif not hub_answers():
        return Finding(data.name, "unseen", f"{data.train}: the Hugging Face Hub does not answer")
    else:
        found = hub_shape(data)
    return compare_shape(data, found)


def compare_shape(data: DataSpec, found: dict[str, int | None]) -> Finding:
    """The stated shape against the one that was found.

    Examples
    --------
    >>> data = DataSpec("dtd", "tanganke/dtd", expect={"classes": 47, "train": 3760})
    >>> compare_shape(data, {"classes": 47, "train": 3761}).text
    'tanganke/dtd: train is 3761, not 3760'
    """
    wrong = [
        f"{name} is {found[name]}, not {number}"
        for name, number in data.expect.items()
        if found.get(name) not in (None, number)
    ]
    if wrong:
        return Finding(data.name, "wrong", f"{data.train}: {'; '.join(wrong)}")
    told = ", ".join(f"{name} {number}" for name, number in found.items() if number is not None)
    return Finding(data.name, "ok", f"{data.train}: {told or 'it is there; its shape is not told'}")


def _local_shape(data: DataSpec, places: Places) -> dict[str, int | None]:
    """Classes and images of data on this machine, before any are drawn."""
    data = replace(data, test_images=None)
    train, test = all_training_images(data, places), test_images(data, places)
    return {
        "classes": len(train.class_names),
        "train": len(train),
        "test": None if test is None else len(test),
    }


def hub_answers() -> bool:
    """One request with a short timeout; False where the hub is switched off."""
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return False
    try:
        get_session().head(constants.ENDPOINT, timeout=PROBE_SECONDS)
    except Exception:  # the exception types belong to the client's HTTP library and have changed
        return False
    return True


def hub_shape(data: DataSpec) -> dict[str, int | None]:
    """Classes and images as the hub describes a data set, without its images.

    Raises
    ------
    InputError
        If the hub has no such data set, or it may not be read.
    """
    try:
        import datasets

        info: Any = datasets.load_dataset_builder(data.train, data.config).info
    except Exception as error:  # `datasets` raises many kinds
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{data.train} cannot be looked at: {reason}") from error
    splits = {name: split.num_examples for name, split in (info.splits or {}).items()}
    label = (info.features or {}).get(data.label_column or "label")
    names = getattr(label, "names", None)
    test = (data.test or {}).get("split")
    elsewhere = (data.test or {}).get("source") != data.train
    return {
        "classes": None if names is None else len(names),
        "train": splits.get(data.split or "train"),
        "test": None if elsewhere else splits.get(test),
    }
