"""Suites: all problems at once with their lines, shipped suites, keys of cells."""

import pytest
import yaml

from labelsieve.bench.cells import expand
from labelsieve.bench.suite_load import SUITES, load_suite, parse_suite, shipped_suites
from labelsieve.core.exceptions import InputError

GOOD = """
name: g
seeds: [1, 2]
models: {m: mini-glyph}
data:
  d: {train: demo:digits, test: {source: demo:digits, split: test}, templates: dtd}
noise:
  none: {kind: none}
  half: {kind: symmetric, rate: 0.5}
methods:
  coop: {tuner: coop, params: {loss: ce}, after: knn}
  knn: {detector: knn}
  zero: {tuner: zero-shot, only: {noise: [none]}}
"""

BAD = """
seedz: [1]
seeds: [a]
models: {m: mini-glyph}
data:
  d: {train: demo:digits, shotz: 3, templates: pets, shots: 4}
noise:
  n: {kind: symetric, rate: 2}
  f: {kind: few-shot, wrong: 9, confusions: z}
methods:
  a: {tuner: cop}
  b: {detector: knn, params: {kk: 1}, after: a}
  c: {tuner: coop, after: nobody}
  a: {tuner: coop, detector: knn}
  e: {tuner: coop, only: {date: [d], data: [dd]}}
  f: {adapt: coo}
  g: {detector: small-loss, params: {noise_rate: 2}}
"""


def test_all_problems_in_one_message_with_line_and_what_is_allowed():
    with pytest.raises(InputError) as caught:
        parse_suite(BAD)
    text = str(caught.value)
    for part in (
        "line 2, seedz: unknown key; choose one of name, about, seeds",
        "(did you mean 'seeds'?)",
        "line 3, seeds: expected a list of integers of at least 0, each once, not ['a']",
        "line 6, data.d.shotz: unknown key",
        "line 6, data.d.templates: unknown templates 'pets'; choose one of default",
        "line 8, noise.n.rate: expected a number in 0..1, not 2",
        "line 8, noise.n.kind: unknown kind 'symetric'; choose one of none, few-shot, symmetric",
        "line 9, noise.f.confusions: unknown model 'z'; choose one of m",
        "line 9, noise.f: `wrong` is at most the `shots` of data d, 4",
        "line 14, methods.a: the key occurs twice",
        "line 14, methods.a: give exactly one of detector, tuner, adapt, peer, not 2",
        "line 12, methods.b.params: detector 'knn' has no parameter kk; it takes k",
        "line 13, methods.c.after: 'nobody' is no detector of this suite",
        "line 15, methods.e.only.date: unknown axis 'date'; choose one of data, noise, models",
        "line 15, methods.e.only.data: unknown data 'dd'; choose one of d",
        "line 16, methods.f.adapt: unknown baseline 'coo'; choose one of ce, dspt, elr",
        "line 17, methods.g.params: noise_rate must be a number in 0..1, not 2",
    ):
        assert part in text, part


def test_no_suite_and_no_yaml_say_what_there_is(tmp_path):
    with pytest.raises(InputError, match=r"choose one of deft, dspt, human, local, ptnl, smoke"):
        load_suite("smok")
    (tmp_path / "s.yaml").write_text("a: [1\n")
    with pytest.raises(InputError, match=r"no YAML: .*line 2"):
        load_suite(tmp_path / "s.yaml")
    with pytest.raises(InputError, match="the key 'data' is missing"):
        parse_suite("models: {m: mini-glyph}\nmethods: {k: {detector: knn}}")


def test_detectors_come_first_and_filters_hold():
    cells = expand(parse_suite(GOOD))
    names = [(c.method.name, c.noise.name, c.seed) for c in cells]
    assert names[:4] == [
        ("knn", "none", 1),
        ("knn", "none", 2),
        ("knn", "half", 1),
        ("knn", "half", 2),
    ]
    assert len(cells) == 4 + 2 + 4
    by_name = dict(zip(names, cells, strict=True))
    coop = by_name["coop", "half", 2]
    assert coop.after_key == by_name["knn", "half", 2].key
    assert len({c.key for c in cells}) == len(cells)
    assert (
        coop.noise_key
        == by_name["knn", "half", 2].noise_key
        != by_name["coop", "half", 1].noise_key
    )


def test_a_key_changes_with_what_decides_the_result_and_with_nothing_else():
    def keys(text):
        return {(c.method.method, c.noise.kind, c.seed): c.key for c in expand(parse_suite(text))}

    before = keys(GOOD)
    renamed = keys(GOOD.replace("zero:", "clip:").replace("name: g", "name: h\nabout: new"))
    assert renamed == before
    changed = keys(GOOD.replace("loss: ce", "loss: gce"))
    assert {k for k in before if before[k] != changed[k]} == {k for k in before if k[0] == "coop"}
    templates = keys(GOOD.replace("templates: dtd", "templates: food"))
    assert templates["zero-shot", "none", 1] != before["zero-shot", "none", 1]
    detector = keys(GOOD.replace("detector: knn", "detector: knn, params: {k: 5}"))
    assert detector["coop", "none", 1] != before["coop", "none", 1]  # what it comes after changed
    assert detector["zero-shot", "none", 1] == before["zero-shot", "none", 1]
    seeded = keys(GOOD.replace("loss: ce", "loss: ce, random_state: 7"))
    assert seeded["coop", "none", 1] != before["coop", "none", 1]
    rate = keys(GOOD.replace("rate: 0.5", "rate: 0.4"))
    assert rate["coop", "none", 1] == before["coop", "none", 1]
    assert rate["coop", "symmetric", 1] != before["coop", "symmetric", 1]


@pytest.mark.parametrize(
    ("noise", "key", "text"),
    [
        ("{kind: none, rate: 0.4}", "rate", "none noise does not take it"),
        ("{kind: symmetric, rate: 0.4, wrong: 2}", "wrong", "symmetric noise does not take it"),
        (
            "{kind: symmetric, rate: 0.4, confusions: m}",
            "confusions",
            "symmetric noise does not take it",
        ),
        ("{kind: none, file: a.parquet}", "file", "none noise does not take it"),
        ("{column: human, rate: 0.4}", "rate", "a column of human labels does not take it"),
        ("{column: human, truth_column: t}", "truth_column", "it is a column of `file`"),
    ],
)
def test_a_key_that_would_change_nothing_is_told(noise, key, text):
    with pytest.raises(InputError, match=f"line 8, noise.none.{key}: {text}"):
        parse_suite(GOOD.replace("{kind: none}", noise))
    good = "{kind: instance-dependent, rate: 0.4, normalize: true}"
    assert parse_suite(GOOD.replace("{kind: none}", good)).noise["none"].normalize


def test_a_seed_that_occurs_twice_would_count_twice():
    with pytest.raises(InputError, match=r"seeds: expected .* each once, not \[1, 2, 1\]"):
        parse_suite(GOOD.replace("[1, 2]", "[1, 2, 1]"))


def test_a_detector_that_is_not_run_where_it_is_needed():
    text = GOOD.replace("knn: {detector: knn}", "knn: {detector: knn, only: {noise: [none]}}")
    with pytest.raises(InputError, match="coop comes after knn, not run for"):
        expand(parse_suite(text))


@pytest.mark.parametrize("name", shipped_suites())
def test_shipped_suites_are_valid_and_say_how_to_get_their_data(name):
    suite = load_suite(name)
    assert suite.name == name
    assert len(expand(suite)) > 20
    for data in suite.data.values():
        assert data.expect or name == "ptnl" or name == "dspt", data.name
        if name not in ("smoke", "local"):
            assert data.prepare
            assert data.unchecked


def test_shipped_suites_cover_the_papers():
    eleven = {
        *("caltech101", "oxford-pets", "stanford-cars", "flowers102", "food101", "fgvc-aircraft"),
        *("sun397", "dtd", "eurosat", "ucf101", "imagenet"),
    }
    classes = {"oxford-pets": 37, "stanford-cars": 196, "flowers102": 102, "food101": 101}
    classes |= {"fgvc-aircraft": 100, "sun397": 397, "dtd": 47, "eurosat": 10, "ucf101": 101}
    classes |= {"imagenet": 1000}
    for name in ("ptnl", "dspt"):
        data = load_suite(name).data
        assert set(data) == eleven
        assert all(data[k].expect["classes"] == n for k, n in classes.items())
        assert all(spec.shots == 16 for spec in data.values())
    assert {n.wrong for n in load_suite("ptnl").noise.values()} == {0, 2, 4, 8}
    deft = set(load_suite("deft").data)
    assert {"cifar100", "tiny-imagenet", "cub-200", "clothing1m", "webvision-50"} <= deft
    columns = {n.column for n in load_suite("human").noise.values()}
    assert {"worse_label", "aggre_label", "random_label1", "noisy_label"} <= columns


def test_shipped_files_are_short_and_plain_yaml():
    for path in SUITES.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        assert yaml.safe_load(text)["name"] == path.stem
        assert len(text.splitlines()) < 200
