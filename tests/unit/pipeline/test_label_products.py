"""Labels of two inventories through the pipeline: mean of years, thresholds, agreement, independent judgement."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest

from entropice_core.checks import check_partition
from entropice_core.describe import describe
from entropice_core.pipeline.product import Context
from entropice_core.pipeline.run import Graph, materialize
from entropice_core.storage.partition import Partition
from tests.assets.conftest import Tiny, make_tiny, quiet

HERE = Partition("h3-3")
EVERYWHERE = Partition()
SECOND = """
[inventories.points]
title = "Points of the same slumps, half of them"
geometry = "point"
files = ["{data}/points.csv"]
crs = "EPSG:4326"
year = { column = "year" }
area_column = "area"
footprint = { kind = "study_area" }
[sources.climate]
"""


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Context, Graph]]:
    """The tiny study with a second inventory, and probabilities in the first."""
    folder = tmp_path_factory.mktemp("two")
    tiny: Tiny = make_tiny(folder, folder / "data")
    _write_inputs(tiny.data)
    text = tiny.toml.read_text().replace("[sources.climate]\n", SECOND, 1)
    tiny.toml.write_text(text.replace('year = { column = "year" }', PROBABLE, 1))
    with quiet():
        context, graph = tiny.context(), tiny.graph()
        order = [n for n, p in graph.items() if p.kind in WANTED or n.endswith(".logistic_regression")]
        for name in [n for n in order if graph[n].kind not in ("map", "proxies", "priority")]:
            for partition in graph[name].partitions(context.study):
                materialize(context, graph, replace(graph[name], after=None), partition)  # no MLflow here
        yield context, graph


PROBABLE = """year = { column = "year" }
probability = { column = "p", thresholds = [0.5, 0.9] }
detector = { f1 = [0.3, 0.7] }"""
WANTED = (
    "cells", "inventory", "labels", "labels_mean", "label_sensitivity", "label_agreement", "features", "training_set",
)  # fmt: skip


def _write_inputs(data: Path) -> None:
    squares = gpd.read_file(data / "squares.gpkg")
    squares["p"] = np.linspace(0.3, 1.0, len(squares))
    squares.to_file(data / "squares.gpkg", driver="GPKG")
    half = squares[np.random.default_rng(1).random(len(squares)) < 0.5]
    areas = half.to_crs("EPSG:6931").area
    where = half.to_crs("EPSG:6931").centroid.to_crs("EPSG:4326")
    table = pd.DataFrame({"lon": where.x, "lat": where.y, "year": half["year"], "area": areas})
    table.to_csv(data / "points.csv", index=False)


def test_the_second_inventory_agrees_as_far_as_it_holds_the_same_slumps(built: tuple[Context, Graph]) -> None:
    context, _ = built
    table = pd.read_csv(context.store.path("label_agreement", HERE) / "agreement.csv")
    whole = table[table["year"] == "all"].iloc[0]
    assert (whole["a"], whole["b"]) == ("points", "squares")
    assert whole["count_a"] == pytest.approx(whole["count_b"] / 2, abs=6)
    assert whole["cells"] == whole["cells_a"] == whole["cells_b"] > 50
    assert whole["rank_correlation"] > 0.7 and whole["positive_both"] == whole["positive_a"]


def test_the_mean_of_the_years_lies_between_them(built: tuple[Context, Graph]) -> None:
    context, _ = built
    years = [context.open("labels.squares", Partition("h3-3", y))["density"].values for y in (2018, 2019)]
    mean = context.open("labels_mean.squares", HERE)["density"].values
    assert (mean >= np.minimum(*years) - 1e-9).all() and (mean <= np.maximum(*years) + 1e-9).all()


def test_only_the_inventory_with_probabilities_has_a_table_of_thresholds(built: tuple[Context, Graph]) -> None:
    context, graph = built
    assert [n for n in graph if n.startswith("label_sensitivity")] == ["label_sensitivity.squares"]
    table = pd.read_csv(context.store.path("label_sensitivity.squares", HERE) / "sensitivity.csv")
    whole = table[table["year"] == "all"]
    assert whole["at_least"].tolist() == [0.0, 0.5, 0.9] and whole["count"].is_monotonic_decreasing


def test_a_map_is_judged_by_the_inventory_that_it_did_not_learn_from(built: tuple[Context, Graph]) -> None:
    context, _ = built
    table = pd.read_csv(context.store.path("independent.logistic_regression", HERE) / "independent.csv")
    assert table["inventory"].unique().tolist() == ["points"]
    rows = table[table["year"] == "all"].set_index("cells")
    assert rows.loc["all", "n"] > 100 and rows.loc["new", "n"] == 0  # the training inventory saw every cell
    assert rows.loc["all", "roc_auc"] > 0.6


def test_each_of_them_passes_its_checks_and_can_be_described(built: tuple[Context, Graph]) -> None:
    context, graph = built
    for name, partition in (
        ("labels.squares", Partition("h3-3", 2018)), ("labels_mean.squares", HERE), ("label_agreement", HERE),
        ("label_sensitivity.squares", HERE), ("independent.logistic_regression", HERE),
        ("inventory.squares", EVERYWHERE),
    ):  # fmt: skip
        manifest = context.store.manifest(name, partition)
        findings = check_partition(context, graph[name], manifest)
        assert findings and all(f.verdict.passed for f in findings), [f.verdict.sentence for f in findings]
        said = describe(context, graph[name], manifest)
        assert said.counts
        assert (said.picture is None) == (graph[name].kind in ("label_sensitivity", "independent"))


def test_the_noise_of_the_detector_is_told_in_inventory_and_labels(built: tuple[Context, Graph]) -> None:
    context, _ = built
    told = context.store.manifest("inventory.squares", EVERYWHERE).counts["notes"]
    assert any("F1 of 0.3 to 0.7" in note for note in told)
    assert "F1 of 0.3 to 0.7" in context.open("labels.squares", Partition("h3-3", 2018)).attrs["label_noise"]


def test_a_second_look_builds_nothing(built: tuple[Context, Graph]) -> None:
    context, graph = built
    with quiet():
        for name in ("labels_mean.squares", "label_agreement", "label_sensitivity.squares"):
            assert not materialize(context, graph, graph[name], HERE).built
            digest = context.store.manifest(name, HERE).digest
            assert materialize(context, graph, graph[name], HERE, force=True).manifest.digest == digest
