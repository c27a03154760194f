"""Several years as one, several inventories beside each other, several thresholds: nothing is summed that repeats."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import pytest
import shapely
import xarray as xr

from entropice_core.errors import ConfigError, GridError, SchemaError
from entropice_core.grids import parse_grid_key
from entropice_core.grids.land import LandSamples
from entropice_core.grids.study_area import StudyArea
from entropice_core.labels.agreement import compare_inventories, write_agreement
from entropice_core.labels.combine import combine_years, summary
from entropice_core.labels.geometry import to_degrees
from entropice_core.labels.inventory import Inventory
from entropice_core.labels.sensitivity import threshold_table, write_sensitivity

NAN = np.nan


def labels(density: list[float], observed_m2: list[float], count: list[float] | None = None) -> xr.Dataset:
    """Labels of a few made-up cells of 1 km2 land."""
    d, seen = np.array(density), np.array(observed_m2)
    n = np.where(seen > 0, np.nan_to_num(d) > 0, NAN) if count is None else np.array(count)
    made = xr.Dataset(coords={"cell_ids": ("cell", np.arange(1, d.size + 1, dtype=np.uint64))})
    made = made.assign_coords(lon=("cell", np.zeros(d.size)), lat=("cell", np.full(d.size, 70.0)))
    made["density"], made["observed_area_m2"] = ("cell", d.astype(np.float32)), ("cell", seen)
    made["count"], made["rts_area_m2"] = ("cell", n.astype(float)), ("cell", d * seen)
    made["observed_fraction"] = ("cell", (seen / 1e6).astype(np.float32))
    made.attrs = {"inventory": "x", "mean_rts_area_m2": 2000.0, "rts_area_cv": 1.0}
    return made


# ---- years ----------------------------------------------------------------------------------------------------------


def test_years_are_weighted_by_observed_land_and_never_summed() -> None:
    made = combine_years({2018: labels([0.01], [1e6]), 2019: labels([0.04], [0.5e6])})
    assert float(made["density"][0]) == pytest.approx((0.01 * 1.0 + 0.04 * 0.5) / 1.5, rel=1e-6)
    same = combine_years({year: labels([0.01], [1e6]) for year in (2018, 2019, 2020)})
    assert float(same["density"][0]) == pytest.approx(0.01, rel=1e-6)
    assert float(same["count"][0]) == 1.0


def test_a_year_that_did_not_look_changes_nothing_and_a_cell_never_seen_stays_unobserved() -> None:
    made = combine_years({2018: labels([0.01, NAN], [1e6, 0.0]), 2019: labels([NAN, NAN], [0.0, 0.0])})
    assert made["density"].values.tolist() == pytest.approx([0.01, NAN], nan_ok=True)
    assert made["years_observed"].values.tolist() == [1, 0]
    assert np.isnan(made["count"].values[1]) and np.isnan(made["density_high"].values[1])
    assert summary(made) | {"years": 0} == {
        "cells": 2, "observed_cells": 1, "positive_cells": 1, "cells_observed_in_every_year": 0, "years": 0,
    }  # fmt: skip


def test_an_observed_zero_counts_as_a_zero_in_the_mean() -> None:
    made = combine_years({2018: labels([0.02], [1e6]), 2019: labels([0.0], [1e6])})
    assert float(made["density"][0]) == pytest.approx(0.01, rel=1e-6)
    assert (int(made["years_positive"][0]), int(made["years_observed"][0])) == (1, 2)
    assert float(made["positive_low"][0]) == pytest.approx(0.0126, abs=1e-4)  # Clopper-Pearson of 1 in 2


def test_the_interval_does_not_shrink_because_the_same_slumps_come_again() -> None:
    one = combine_years({2018: labels([0.01], [1e6])})
    three = combine_years({year: labels([0.01], [1e6]) for year in (2018, 2019, 2020)})
    assert float(three["density_high"][0]) == pytest.approx(float(one["density_high"][0]))


def test_the_change_between_years_is_that_of_the_land_both_saw() -> None:
    first = labels([0.01, 0.5, NAN], [1e6, 1e6, 0.0])
    later = labels([0.03, NAN, 0.9], [1e6, 0.0, 1e6])
    made = combine_years({2018: first, 2019: labels([NAN] * 3, [0.0] * 3), 2020: later})
    assert made["change_from_year_before"].values.tolist() == pytest.approx([NAN, NAN, 3.0], rel=1e-5, nan_ok=True)
    assert made["cells_shared_with_year_before"].values.tolist() == pytest.approx([NAN, NAN, 1.0], nan_ok=True)
    assert summary(made)["years"]["2020"]["change_from_year_before"] == 3.0
    assert "2019" not in summary(made)["years"]


def test_years_on_other_cells_and_no_year_at_all_are_refused() -> None:
    with pytest.raises(GridError, match="2019 and 2018 are on different cells"):
        combine_years({2018: labels([0.1], [1e6]), 2019: labels([0.1, 0.2], [1e6, 1e6])})
    with pytest.raises(SchemaError, match="no year"):
        combine_years({})


# ---- inventories ----------------------------------------------------------------------------------------------------


def two() -> dict[str, dict[int, xr.Dataset]]:
    rng = np.random.default_rng(5)
    density = np.where(rng.random(200) < 0.5, 0.0, rng.random(200) * 0.01)
    other = density * 2.0
    seen_b = np.where(np.arange(200) < 100, 1e6, 0.0)
    a = labels(density.tolist(), [1e6] * 200)
    b = labels(np.where(seen_b > 0, other, NAN).tolist(), seen_b.tolist())
    return {"a": {2018: a, 2019: a}, "b": {2018: b}}


def test_only_cells_and_years_that_both_saw_are_compared() -> None:
    table = compare_inventories(two(), 0.1)
    assert table["year"].tolist() == ["2018", "all"]
    row = table.iloc[0]
    assert (row["cells_a"], row["cells_b"], row["cells"]) == (200, 100, 100)
    assert row["area_ratio"] == pytest.approx(2.0) and row["rank_correlation"] == pytest.approx(1.0)
    assert row["jaccard"] == row["kappa"] == 1.0 and row["ranked_by"] == "density"
    assert row["positive_a"] == row["positive_both"] == row["count_a"]


def test_cells_of_which_little_was_seen_are_not_compared() -> None:
    few = {"a": {2018: labels([0.1, 0.2], [1e6, 5e4])}, "b": {2018: labels([0.1, 0.2], [1e6, 1e6])}}
    assert compare_inventories(few, 0.1)["cells"].tolist() == [1, 1]
    assert compare_inventories(few, 0.01)["cells"].tolist() == [2, 2]


def test_inventories_that_contradict_each_other_agree_less_than_chance() -> None:
    density = np.array([0.0, 0.01] * 40)
    pair = {"a": {2018: labels(density.tolist(), [1e6] * 80)}, "b": {2018: labels(density[::-1].tolist(), [1e6] * 80)}}
    row = compare_inventories(pair, 0.1).iloc[0]
    assert row["jaccard"] == 0.0 and row["kappa"] == -1.0 and row["rank_correlation"] == pytest.approx(-1.0)
    assert np.isnan(row["rank_correlation_positive"]) or row["rank_correlation_positive"] == pytest.approx(-1.0)


def test_an_inventory_without_areas_is_ranked_by_counts() -> None:
    rng = np.random.default_rng(1)
    n = rng.integers(0, 5, 60).astype(float)
    without = labels([NAN] * 60, [1e6] * 60, count=n.tolist())
    other = labels((n / 1000).tolist(), [1e6] * 60, count=n.tolist())
    row = compare_inventories({"a": {2018: without}, "b": {2018: other}}, 0.1).iloc[0]
    assert row["ranked_by"] == "count" and row["rank_correlation"] == pytest.approx(1.0)
    assert np.isnan(row["area_km2_a"]) and row["cells"] == 60


def test_without_a_common_year_there_is_no_row_and_on_other_cells_an_error() -> None:
    a, b = {2018: labels([0.1], [1e6])}, {2019: labels([0.1], [1e6])}
    assert compare_inventories({"a": a, "b": b}, 0.1).empty
    with pytest.raises(GridError, match="a and b are on different cells in 2018"):
        compare_inventories({"a": a, "b": {2018: labels([0.1, 0.1], [1e6, 1e6])}}, 0.1)


def test_the_agreement_is_written_as_table_and_picture_with_the_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        counts = write_agreement(tmp_path / name, two(), 0.1, "h3-4")
    assert counts == {"pairs": 1, "common_cell_years": {"a and b": 100}}
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / n).iterdir()} for n in ("one", "two"))
    assert first == second and set(first) == {"agreement.csv", "agreement.md", "agreement.png"}
    assert "| a | b | all | 200 | 100 | 100 |" in first["agreement.md"].decode()


# ---- thresholds -----------------------------------------------------------------------------------------------------


@pytest.fixture
def likely(all_land: Callable[..., xr.Dataset]) -> tuple[Inventory, xr.Dataset]:
    grid = parse_grid_key("h3-5")
    ids = grid.locate([126.0, 127.5, 129.0], [72.0, 72.0, 72.0])
    outlines = grid.polygons(ids)
    plane = np.array([o.centroid.buffer(100.0 * (i + 1)) for i, o in enumerate(outlines)], dtype=object)
    columns = {"year": [2018, 2018, 2019], "area_m2": shapely.area(plane), "probability": [0.55, 0.95, 0.75]}
    features = gpd.GeoDataFrame(columns, geometry=to_degrees(plane), crs="EPSG:4326")
    return Inventory(features, None, {"inventory": "darts", "probability_at_least": 0.5}), all_land("h3-5", ids)


def test_higher_thresholds_leave_fewer_slumps(likely: tuple[Inventory, xr.Dataset], no_land: LandSamples) -> None:
    inventory, cells = likely
    table = thresholds(inventory, cells, no_land)
    whole = table[table["year"] == "all"]
    assert whole["at_least"].tolist() == [0.5, 0.7, 0.9]  # 0.3 lies below what the inventory itself asks for
    assert whole["count"].tolist() == [3, 2, 1] and whole["positive_cells"].tolist() == [3, 2, 1]
    assert whole["features"].tolist() == [3, 2, 1] and whole["observed_cells"].unique().tolist() == [6]
    assert whole["area_left"].tolist() == pytest.approx([1.0, 13 / 14, 4 / 14], rel=1e-3)
    of_2019 = table[table["year"] == "2019"]
    assert of_2019["area_left"].tolist() == pytest.approx([1.0, 1.0, 0.0], rel=1e-3)


def test_the_table_is_written_for_people_and_programs(
    tmp_path: Path, likely: tuple[Inventory, xr.Dataset], no_land: LandSamples
) -> None:
    counts = write_sensitivity(tmp_path, thresholds(*likely, no_land), "darts on h3-5")
    assert counts["at least 0.9"]["count"] == 1 and list(counts) == ["at least 0.5", "at least 0.7", "at least 0.9"]
    assert pd.read_csv(tmp_path / "sensitivity.csv")["count"].tolist()[2] == 3
    assert "darts on h3-5" in (tmp_path / "sensitivity.md").read_text()


def test_an_inventory_without_probabilities_has_no_such_table(
    likely: tuple[Inventory, xr.Dataset], no_land: LandSamples
) -> None:
    inventory, cells = likely
    without = replace(inventory, features=inventory.features.assign(probability=NAN))
    with pytest.raises(ConfigError, match="'darts' has no probabilities"):
        thresholds(without, cells, no_land)


def thresholds(inventory: Inventory, cells: xr.Dataset, land: LandSamples) -> Any:
    grid, area = parse_grid_key("h3-5"), StudyArea(60.0)
    return threshold_table(inventory, grid, cells, area, [2018, 2019], land, (0.3, 0.7, 0.9))
