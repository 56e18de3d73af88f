"""Flags that several verbs share, and how they print."""

from __future__ import annotations

import contextlib
import logging
import os
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from ..core.cluster import Cluster
from ..core.exceptions import InputError

TUNINGS = "none, vpt-shallow, vpt-deep, lora, adapter, adaptformer, ssf, bias or full"
"""The registry would have to import torch, and `--help` has to be quick."""


def _read_config(context: typer.Context, value: Path | None) -> Path | None:
    """Take defaults for this verb's flags from a YAML file with the same names."""
    if value is None:
        return None
    import yaml

    try:
        loaded = yaml.safe_load(value.read_text(encoding="utf-8")) or {}
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise typer.BadParameter(f"cannot read {value}: {error}") from error
    if not isinstance(loaded, dict):
        raise typer.BadParameter(f"{value} must hold a mapping of flag names to values")
    known = {
        flag.removeprefix("--").replace("-", "_"): parameter
        for parameter in context.command.params
        for flag in parameter.opts
        if flag.startswith("--") or flag == parameter.name
    }
    given = {str(key).replace("-", "_"): item for key, item in loaded.items()}
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise typer.BadParameter(
            f"{value} names unknown flags: {', '.join(unknown)}; known are "
            f"{', '.join(sorted(known))}"
        )
    defaults = {}
    for flag, item in given.items():
        alone = getattr(known[flag], "multiple", False) and not isinstance(item, list)
        defaults[known[flag].name] = [item] if alone else item
    context.default_map = {**(context.default_map or {}), **defaults}
    return value


class SaidOnce(logging.Filter):
    """Lets a warning through once: detector and tuner say the same of a class name."""

    def __init__(self) -> None:
        super().__init__()
        self.said: set[str] = set()

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record is shown."""
        text = record.getMessage()
        new = record.levelno < logging.WARNING or text not in self.said
        self.said.add(text)
        return new


def _set_verbosity(context: typer.Context, value: int) -> int:
    # What was typed is looked at first, so `-q` alone comes before this default.
    usual = logging.ERROR if context.params.get("quiet") else logging.WARNING
    level = logging.INFO if value > 0 else usual
    handler = logging.StreamHandler(sys.stderr)
    handler.addFilter(SaidOnce())
    logging.basicConfig(handlers=[handler], format="%(message)s", level=logging.WARNING)
    logging.getLogger("labelsieve").setLevel(level)
    return value


def _be_quiet(value: bool) -> bool:
    if value:
        logging.getLogger("labelsieve").setLevel(logging.ERROR)
        os.environ["TQDM_DISABLE"] = "1"
    return value


Data = Annotated[
    str,
    typer.Argument(
        help="Class-per-folder tree, folder with metadata, CSV/JSONL/parquet table, "
        "saved HF data set, or hub id."
    ),
]
ImageColumn = Annotated[str | None, typer.Option(help="Column of a table that holds the images.")]
LabelColumn = Annotated[str | None, typer.Option(help="Column of a table that holds the labels.")]
ClassNames = Annotated[
    str | None,
    typer.Option(help="File with the class names, or a JSON map from labels to prompt words."),
]
Split = Annotated[str | None, typer.Option(help="Which split to read, where there are several.")]
Model = Annotated[
    str, typer.Option(help="Hub id, directory, or mini-glyph (shipped, reads characters).")
]
Seed = Annotated[int, typer.Option(min=0, help="Decides everything random.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or mps.")]
Dtype = Annotated[str, typer.Option(help="auto, float32, bfloat16 or float16.")]
Offline = Annotated[bool, typer.Option("--offline", help="Do not ask the hub.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
Force = Annotated[bool, typer.Option("--force", help="Replace an existing output.")]
Params = Annotated[
    list[str] | None,
    typer.Option("--param", help="NAME=VALUE of the method's constructor; may be repeated."),
]
Engine = Annotated[str, typer.Option(help="local, or ray: on the workers of a Ray cluster.")]
Address = Annotated[
    str | None, typer.Option(help="Of a running Ray cluster; unset, one on this machine.")
]
Config = Annotated[
    Path | None,
    typer.Option(
        callback=_read_config, is_eager=True, help="YAML file with values for these flags."
    ),
]
Verbose = Annotated[
    int,
    typer.Option("-v", "--verbose", count=True, callback=_set_verbosity, help="Say more."),
]
Quiet = Annotated[
    bool, typer.Option("-q", "--quiet", callback=_be_quiet, help="Say only what failed.")
]


def parse_params(pairs: list[str] | None) -> dict[str, Any]:
    """Turn NAME=VALUE pairs into constructor arguments; values are read as YAML scalars.

    Raises
    ------
    InputError
        If a pair has no "=".
    """
    import yaml

    params = {}
    for pair in pairs or []:
        name, equals, value = pair.partition("=")
        if not equals or not name:
            raise InputError(f"--param takes NAME=VALUE, not {pair!r}")
        try:
            read = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise InputError(f"--param {pair}: the value cannot be read: {error}") from error
        # YAML takes 1e-3 for text; people mean a number, unless they put it in quotes
        if isinstance(read, str) and read == value.strip():
            with contextlib.suppress(ValueError):
                read = float(read)
        params[name.replace("-", "_")] = read
    return params


def read_cluster(engine: str, address: str | None, workers: int | None) -> Cluster | None:
    """Where work is to run; None is this process or machine.

    Raises
    ------
    InputError
        If the engine is unknown, or flags of Ray are given to another.
    """
    if engine not in ("local", "ray"):
        raise InputError(f"unknown engine {engine!r}; choose local or ray")
    if engine == "ray":
        return Cluster(address, workers)
    if address is not None or workers is not None:
        raise InputError("--address and --workers go with --engine ray")
    return None


def say(text: str) -> None:
    """A line for the person, on standard error; not with `--quiet`."""
    if logging.getLogger("labelsieve").isEnabledFor(logging.WARNING):
        typer.echo(text, err=True)


def read_images(
    data: str,
    image_column: str | None,
    label_column: str | None,
    class_names: str | None,
    split: str | None = None,
    *,
    offline: bool = False,
) -> Any:
    """Load the data set and say by which rule, with class counts and notes."""
    from ..data import load_images

    images = load_images(
        data,
        image_column=image_column,
        label_column=label_column,
        class_names=class_names,
        split=split,
        offline=offline,
    )
    describe(images)
    return images


def read_test(
    test: str,
    data: str,
    images: Any,
    image_column: str | None,
    label_column: str | None,
    class_names: str | None,
    *,
    offline: bool = False,
) -> Any:
    """Load the data set of `--test`; if it is that of the training, its test split.

    A column with a usual name goes before `label_column`, in which the labels of the training may
    be noisy ones beside the true ones.

    Raises
    ------
    InputError
        If it cannot be read, or a classifier of the training's `images` cannot be measured on it.
    """
    from ..bench.evaluate import check_evaluable
    from ..data import load_images

    options: dict[str, Any] = {"image_column": image_column, "class_names": class_names}
    options |= {"split": "test" if test == data else None, "offline": offline}
    problems: list[InputError] = []
    for column in dict.fromkeys((None, label_column)):
        try:
            found = load_images(test, label_column=column, **options)
            check_evaluable(images.class_names, found)
        except InputError as error:
            problems.append(error)
        else:
            describe(found)
            return found
    raise problems[0]


def describe(images: Any) -> None:
    """Say how images were read."""
    say(f"{len(images):,} images, {len(images.class_names)} classes. {images.rule}")
    counts = list(images.class_counts().items())
    shown = ", ".join(f"{_apart(name)} {n:,}" for name, n in counts[:12])
    say(f"given labels: {shown}{', …' if len(counts) > 12 else ''}")
    for note in images.notes:
        say(f"note: {note}")


def _apart(name: str) -> str:
    """A class name, in quotes where it could be taken for several, or would break the line."""
    return name if name.isprintable() and "," not in name else repr(name)


def absolute(path: str) -> str:
    """A path that holds from any folder; links stay, since names and folders may hang on them."""
    return os.path.abspath(os.path.expanduser(path))


def lasting(data: str) -> str:
    """Data as they can be found again from any folder: a hub id or a URL stays as it is."""
    local = os.path.exists(os.path.expanduser(data))
    shards = data.lower().endswith(".tar") and "://" not in data  # may hold a range in braces
    return absolute(data) if local or shards else data


def command_line() -> str:
    """What was typed, quoted for a shell."""
    return shlex.join(["labelsieve", *sys.argv[1:]])


def classifier_line(folder: Path) -> str:
    """Where the classifier is, and the command that uses it, ready to be pasted."""
    return f"{folder}  (labelsieve predict {shlex.quote(str(folder))} IMAGES -o FILE)"


def print_json(value: Any) -> None:
    """The result on standard output, as JSON that any encoding can carry."""
    import json

    narrow = not (sys.stdout.encoding or "").lower().startswith("utf")
    typer.echo(json.dumps(value, indent=2, ensure_ascii=narrow))
