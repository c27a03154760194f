"""Variables that tell are found by every measure; a label of the place is not taken for knowledge."""

import json
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import numpy as np
import pandas as pd
import pytest

from entropice_core.proxies.discover import discover_proxies, shuffle_within
from entropice_core.training.persist import load_model
from tests.trained_study import trained


@cache
def discovered(model="random_forest"):
    study, folder = trained(model), Path(mkdtemp())
    counts = discover_proxies("it", study.study, study.grid, study.table, load_model(study.model), folder)
    return folder, json.loads((folder / "proxies.json").read_text()), counts


@pytest.mark.parametrize("measure", ["permutation within blocks", "impurity_decrease", "Shapley values"])
def test_every_measure_of_a_forest_finds_the_two_variables_that_tell(measure):
    _, report, _ = discovered()
    features = report["measures"][measure]["features"]
    assert {row["name"] for row in features[:2]} == {"era5.warmth", "terrain.slope"}
    assert features[0]["mean"] > 3 * abs(features[-1]["mean"])
    assert report["measures"][measure]["n_folds"] == 3 and report["measures"][measure]["n_seeds"] == 2


def test_table_picture_and_numbers_of_the_manifest_agree():
    folder, report, counts = discovered()
    table = pd.read_csv(folder / "proxies.csv")
    assert set(table["measure"]) == {*report["measures"], "whole source permuted"}
    assert len(table) == 3 * 4 + 2
    lead = report["measures"]["permutation within blocks"]
    assert counts["first variable"] == lead["features"][0]["name"]
    assert counts["verdict"] == lead["verdict"] and counts["fits"] == 6
    assert (folder / "proxies.png").stat().st_size > 20_000


def test_sources_are_shuffled_as_a_whole():
    _, report, _ = discovered()
    by_source = {row["name"]: row["mean"] for row in report["sources"]["features"]}
    single = {row["name"]: row["mean"] for row in report["measures"]["permutation within blocks"]["features"]}
    assert by_source["terrain"] == pytest.approx(single["terrain.slope"], abs=0.1)
    assert set(by_source) == {"era5", "terrain"}


def test_a_run_again_writes_the_same_bytes(tmp_path):
    folder, _, _ = discovered()
    study = trained("random_forest")
    discover_proxies("it", study.study, study.grid, study.table, load_model(study.model), tmp_path)
    assert (tmp_path / "proxies.json").read_bytes() == (folder / "proxies.json").read_bytes()


def test_shuffling_stays_within_groups_and_moves_rows():
    groups = np.random.default_rng(0).integers(0, 7, 300)
    order = shuffle_within(groups, np.random.default_rng(1))
    assert np.array_equal(groups[order], groups)
    assert sorted(order.tolist()) == list(range(300))
    assert (order != np.arange(300)).mean() > 0.8
