"""The class-token study: what is varied, resuming, what is averaged, and the page."""

import json

import numpy as np
import pandas as pd
import pytest
from analysis_problem import load, write_table
from PIL import Image

from labelsieve.analysis import token_study
from labelsieve.analysis.cells import Cells
from labelsieve.analysis.coop import coop
from labelsieve.analysis.token_page import summarise
from labelsieve.analysis.token_study import analyze_class_tokens
from labelsieve.analysis.token_variants import VARIANTS, get_variants
from labelsieve.core.exceptions import InputError
from labelsieve.tuners.inputs import fit_data

SMALL = {"rates": (0.0, 0.5), "epochs": 1, "seeds": 2, "shots": 4}


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("data"), wrong=0)


def test_every_variant_is_the_prompt_that_it_is_called(table, tiny_backbone):
    data = fit_data(load(table), None, tiny_backbone, None)
    shapes = {}
    for name, variant in VARIANTS.items():
        tuner = coop("ce", variant.class_tokens, {"epochs": 0, **variant.params}, shots=4, seed=0)
        _, module, _ = tuner.training(data, tiny_backbone)
        shapes[name] = tuple(module.learner.context.shape)
        trained = {n for n, p in module.learner.named_parameters() if p.requires_grad}
        expected = {"tuned": {"context", "name_tokens"}, "tuned-only": {"name_tokens"}}
        assert trained == expected.get(name, {"context"}), name
        assert module.learner.class_tokens == variant.class_tokens
    width = tiny_backbone.text_width
    assert shapes["names"] == shapes["random"] == shapes["tuned"] == (4, width)
    assert shapes["class-specific"] == (3, 4, width)
    assert shapes["random-4"] == (4, width)
    assert shapes["random-16"] == (16, width)
    assert shapes["class-specific-16"] == (3, 16, width)


def test_all_cells_are_measured_and_a_killed_run_continues(
    table, tiny_backbone, tmp_path, monkeypatch
):
    out, names, calls = tmp_path / "out", ("names", "random-4"), []
    measure = token_study._measure

    def counted(*args):
        if len(calls) == 3:
            raise KeyboardInterrupt
        calls.append(args[0])
        return measure(*args)

    monkeypatch.setattr(token_study, "_measure", counted)
    study = {"model": tiny_backbone, "variants": names, **SMALL}
    with pytest.raises(KeyboardInterrupt):
        analyze_class_tokens(load(table), out, **study)
    assert [path.name for path in out.iterdir()] == [".work"]
    monkeypatch.setattr(token_study, "_measure", lambda *a: calls.append(a[0]) or measure(*a))
    analyze_class_tokens(load(table), out, **study)
    assert len(calls) == 2 * 2 * 2 + 1  # rates, seeds, variants, and zero-shot; none twice
    assert not (out / ".work").exists()
    cells = pd.read_parquet(out / "data.parquet")
    assert len(cells) == 8
    assert cells["wrong"].tolist() == [0.0, 0.0, 0.5, 0.5] * 2
    analyze_class_tokens(load(table), tmp_path / "whole", **study)
    whole = pd.read_parquet(tmp_path / "whole" / "data.parquet")
    same = cells.columns.difference(["seconds"])
    pd.testing.assert_frame_equal(cells[same], whole[same])
    with pytest.raises(InputError, match="add --force"):
        analyze_class_tokens(load(table), out, **study)
    with Image.open(out / "accuracy.png") as image:
        assert image.size[0] == 1200
    html = (out / "index.html").read_text()
    assert "a held-out quarter, 6 images, last epoch" in html
    assert "data:image/svg+xml" in html


def test_trusted_labels_are_matched_by_name(table, tiny_backbone, tmp_path):
    images = load(table)
    turned = images.with_labels(
        2 - images.given_labels, tuple(reversed(images.class_names))
    )  # the same labels, in another order
    pages = []
    for name, test in (("a", images), ("b", turned)):
        study = {"model": tiny_backbone, "variants": ("names",), **SMALL, "rates": (0.0,)}
        analyze_class_tokens(images, tmp_path / name, test=test, **study)
        pages.append(pd.read_parquet(tmp_path / name / "data.parquet"))
    np.testing.assert_array_equal(pages[0]["accuracy"], pages[1]["accuracy"])
    np.testing.assert_array_equal(pages[0]["zero_shot"], pages[1]["zero_shot"])


def test_the_summary_is_mean_and_deviation():
    measured = pd.DataFrame(
        {
            "variant": ["names"] * 3,
            "rate": [0.5] * 3,
            "seed": [0, 1, 2],
            "accuracy": [0.5, 0.6, 0.7],
        }
    )
    row = summarise(measured).iloc[0]
    assert (row["mean"], row["deviation"], row["n"]) == (
        pytest.approx(0.6),
        pytest.approx(0.1),
        3,
    )


def test_cells_of_another_run_are_not_taken_over(tmp_path):
    cells = Cells(tmp_path, {"a": 1}).load()
    cells.add((0.5, 1, "names"), {"accuracy": 0.25})
    assert (0.5, 1, "names") in Cells(tmp_path, {"a": 1}).load()
    again = Cells(tmp_path, {"a": 1}).load()
    assert again.in_order([(0.5, 1, "names")]) == [{"accuracy": 0.25}]
    assert (0.5, 1, "names") not in Cells(tmp_path, {"a": 2}).load()
    assert json.loads((tmp_path / "cells.json").read_text())["cells"]


def test_unknown_variants_are_named():
    with pytest.raises(InputError, match=r"unknown variants \['nams'\]; choose of names, random"):
        get_variants(["names", "nams"])
    with pytest.raises(InputError, match="no variant is given"):
        get_variants([])
