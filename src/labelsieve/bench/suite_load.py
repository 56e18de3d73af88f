"""From a shipped name or a YAML file to a validated suite."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from ..core.exceptions import InputError, gather
from ..data import NOISE
from ..prompts.templates import TEMPLATES
from .methods import METHOD_KINDS, check_method
from .suite import AXES, DataSpec, MethodSpec, ModelSpec, NoiseSpec, Suite
from .suite_check import Checker, choices
from .suite_yaml import Located, parse, read

SUITES = Path(__file__).with_name("suites")
OWN_NOISE = ("none", "few-shot")


def shipped_suites() -> list[str]:
    """Names of the suites that come with labelsieve."""
    return sorted(path.stem for path in SUITES.glob("*.yaml"))


def load_suite(suite: str | Path) -> Suite:
    """Read and check a suite.

    Parameters
    ----------
    suite : str or Path
        A shipped name, or a YAML file.

    Raises
    ------
    InputError
        If there is no such suite or file, or it has problems; all are listed, with their lines.

    Examples
    --------
    >>> load_suite("smoke").name
    'smoke'
    """
    if str(suite) in shipped_suites():
        return check_suite(read(SUITES / f"{suite}.yaml"), f"suite {suite}")
    path = Path(suite).expanduser()
    if not path.is_file():
        raise InputError(
            f"there is no suite {str(suite)!r}: it is no YAML file, and of the shipped suites "
            f"{choices(str(suite), shipped_suites())}"
        )
    return check_suite(read(path), f"suite {path}")


def parse_suite(text: str, where: str = "suite") -> Suite:
    """Check a suite that is given as text; see `load_suite`."""
    return check_suite(parse(text, where), where)


def check_suite(located: Located, where: str) -> Suite:
    """Check a located document; see `load_suite`."""
    check = Checker(located)
    found = check.keys(located.value, (), "suite", ("data", "models", "methods"))
    entries = {axis: _entries(check, found, axis) for axis in AXES}
    data = {n: d for n, v in entries["data"].items() if (d := _data(check, n, v))}
    noise = {n: s for n, v in entries["noise"].items() if (s := _noise(check, n, v))}
    models = {n: m for n, v in entries["models"].items() if (m := _model(check, n, v))}
    methods = {n: m for n, v in entries["methods"].items() if (m := _method(check, n, v))}
    noise = {n: _with_model(check, spec, models) for n, spec in noise.items()}
    if "noise" not in found:
        noise = {"none": NoiseSpec("none", kind="none")}
    for axis, specs in (("noise", noise), ("models", models), ("methods", methods)):
        for name, spec in specs.items():
            _check_only(check, spec.only, entries, (axis, name, "only"))
    _check_after(check, methods, entries["methods"])
    _check_shots(check, data, noise)
    gather(check.problems, what=where)
    return Suite(
        name=str(found.get("name", where.removeprefix("suite "))),
        seeds=tuple(found.get("seeds", [1, 2, 3])),
        data=data,
        noise=noise,
        models=models,
        methods=methods,
        about=found.get("about", ""),
        document=located.value,
    )


def _entries(check: Checker, found: dict[str, Any], axis: str) -> dict[str, Any]:
    """The named entries of an axis; an empty axis is a problem."""
    value = found.get(axis)
    if value is None:
        return {}
    if not value:
        check.add((axis,), "expected at least one entry")
    return {str(name): entry for name, entry in value.items()}


def _data(check: Checker, name: str, value: Any) -> DataSpec | None:
    place = ("data", name)
    good = check.keys(value, place, "data", ("train",))
    if "templates" in good:
        check.one_of(good["templates"], TEMPLATES, (*place, "templates"), "templates")
    if "test" in good:
        test = good["test"]
        test = {"source": test} if isinstance(test, str) else test
        good["test"] = check.keys(test, (*place, "test"), "source", ("source",))
    return DataSpec(name, **good) if "train" in good else None


def _noise(check: Checker, name: str, value: Any) -> NoiseSpec | None:
    place = ("noise", name)
    good = check.keys(value, place, "noise")
    if ("kind" in good) == ("column" in good):
        kinds = ", ".join([*OWN_NOISE, *NOISE.names()])
        check.add(place, f"give either a kind ({kinds}) or a column of human labels")
        return None
    if "kind" not in good:
        _check_taken(check, good, place, "a column of human labels", ("file", "truth_column"))
        if "truth_column" in good and "file" not in good:
            check.add((*place, "truth_column"), "it is a column of `file`; give that too")
        return NoiseSpec(name, **good)
    if not check.one_of(good["kind"], [*OWN_NOISE, *NOISE.names()], (*place, "kind"), "kind"):
        return None
    needs, options = {"few-shot": (("wrong",), ("confusions",))}.get(good["kind"], ((), ()))
    if good["kind"] not in OWN_NOISE:
        found = NOISE.get(good["kind"])
        needs, options = tuple(n for n in found.needs if n != "images"), found.options
    for key in needs:
        if key not in good:
            check.add(place, f"{good['kind']} noise needs the key {key!r}")
    _check_taken(check, good, place, f"{good['kind']} noise", (*needs, *options))
    return NoiseSpec(name, **good)


def _check_taken(
    check: Checker, good: dict[str, Any], place: Any, what: str, keys: tuple[str, ...]
) -> None:
    """A key that would change nothing is a problem."""
    for key in good:
        if key not in (*keys, "kind", "column", "only"):
            check.add((*place, key), f"{what} does not take it")


def _model(check: Checker, name: str, value: Any) -> ModelSpec | None:
    value = {"id": value} if isinstance(value, str) else value
    good = check.keys(value, ("models", name), "models", ("id",))
    return ModelSpec(name, **good) if "id" in good else None


def _method(check: Checker, name: str, value: Any) -> MethodSpec | None:
    place = ("methods", name)
    good = check.keys(value, place, "methods")
    kinds = [kind for kind in METHOD_KINDS if kind in good]
    if len(kinds) != 1:
        check.add(place, f"give exactly one of {', '.join(METHOD_KINDS)}, not {len(kinds)}")
        return None
    kind = kinds[0]
    method = MethodSpec(name, kind, good.pop(kind), **good)
    for key in ("relabel", "backbone"):
        if key in good and kind != "adapt":
            check.add((*place, key), "only adapt takes it")
    if method.after is not None and method.detects:
        check.add((*place, "after"), "only a tuner or adapt can come after a detector")
    for key, text in check_method(method):
        check.add((*place, key), text)
    return method


def _check_only(check: Checker, only: dict[str, list[str]], entries: Any, place: Any) -> None:
    for axis, names in only.items():
        if check.one_of(axis, AXES, (*place, axis), "axis"):
            for name in names:
                check.one_of(str(name), entries[axis] or ["none"], (*place, axis), axis)


def _check_after(check: Checker, methods: dict[str, MethodSpec], entries: Any) -> None:
    detectors = [name for name, method in methods.items() if method.detects]
    for name, method in methods.items():
        if method.after is not None and method.after not in detectors:
            if method.after in entries and method.after not in methods:
                continue  # its own problem is told already
            text = f"{method.after!r} is no detector of this suite; {choices('', detectors)}"
            check.add(("methods", name, "after"), text)


def _with_model(check: Checker, spec: NoiseSpec, models: dict[str, ModelSpec]) -> NoiseSpec:
    """Confusions by the id of the model that the suite names."""
    if spec.confusions is None or spec.kind != "few-shot":
        return spec
    place = ("noise", spec.name, "confusions")
    if not check.one_of(spec.confusions, models, place, "model"):
        return spec
    return replace(spec, confusions=models[spec.confusions].id)


def _check_shots(check: Checker, data: dict[str, Any], noise: dict[str, NoiseSpec]) -> None:
    """Few-shot noise needs shots, and no more wrong ones than there are."""
    for name, spec in noise.items():
        for entry in data.values() if spec.kind == "few-shot" else ():
            if "data" in spec.only and entry.name not in spec.only["data"]:
                continue
            if entry.shots is None or (spec.wrong or 0) > entry.shots:
                text = f"`wrong` is at most the `shots` of data {entry.name}, {entry.shots}"
                check.add(("noise", name), f"{text}; give its data at least as many")
