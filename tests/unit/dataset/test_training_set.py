"""Rows of the training set: observed cell-years, counted, sorted, never mixed between grids or feature sets."""

import numpy as np
import pytest
import xarray as xr

from entropice_core.dataset.training_set import build_training_set
from entropice_core.errors import ConfigError, GridError, ProvenanceError, TrainingError
from entropice_core.features.assemble import assemble

IDS = np.array([10, 20, 30, 40], dtype=np.uint64)


def cells(ids=IDS):
    n = len(ids)
    coords = {"cell_ids": ("cell", ids), "lon": ("cell", np.zeros(n)), "lat": ("cell", np.full(n, 70.0))}
    return xr.Dataset(coords=coords)


def source(names, ids=IDS, value=1.0):
    values = np.full((len(ids), len(names)), value, dtype=np.float32)
    return xr.Dataset(
        {"features": (("cell", "feature"), values)},
        coords={
            "cell_ids": ("cell", ids),
            "feature": ("feature", np.array(names)),
            "unit": ("feature", np.array(["K"] * len(names))),
            "long_name": ("feature", np.array(["x"] * len(names))),
        },
    )


def labels(density, observed, ids=IDS):
    return xr.Dataset(
        {
            "density": ("cell", np.array(density, dtype=np.float32)),
            "observed_fraction": ("cell", np.array(observed, dtype=np.float32)),
            "observed_area_m2": ("cell", np.array(observed, dtype=np.float64) * 1e9),
            "count": ("cell", np.array(density, dtype=np.float64)),
        },
        coords={"cell_ids": ("cell", ids)},
    )


def assembled(names=("b", "a"), ids=IDS):
    return assemble(cells(ids), {"era5": source(["t"], ids), "dem": source(list(names), ids)})


def test_features_are_named_by_source_and_ordered_by_source():
    assert assembled()["feature"].values.tolist() == ["dem.b", "dem.a", "era5.t"]
    assert assembled()["source"].values.tolist() == ["dem", "dem", "era5"]


def test_features_of_other_cells_are_refused_naming_the_source():
    with pytest.raises(GridError, match="'era5'"):
        assemble(cells(), {"era5": source(["t"], IDS + np.uint64(1))})


def test_unobserved_and_barely_observed_rows_are_left_out_and_counted():
    found = build_training_set({2019: labels([0.0, np.nan, 0.5, 0.2], [1.0, 0.0, 0.05, 0.6])}, {2019: assembled()}, 0.1)
    assert found["cell_ids"].values.tolist() == [10, 40]
    assert found.attrs["counts"] == {
        "in": 4, "kept": 2, "rejected: unobserved": 1, "rejected: observed fraction below 0.1": 1, "positive": 1,
    }  # fmt: skip


def test_rows_are_sorted_by_cell_then_year_whatever_the_order_of_years():
    every = {y: labels([0.0, 0.1, 0.2, 0.3], [1, 1, 1, 1]) for y in (2020, 2018)}
    found = build_training_set(every, dict.fromkeys(every, assembled()), 0.1)
    assert found["year"].values.tolist() == [2018, 2020] * 4
    assert np.array_equal(found["cell_ids"].values, np.repeat(IDS, 2))


def test_years_with_other_features_are_not_mixed():
    every = {y: labels([0, 1, 0, 1], [1, 1, 1, 1]) for y in (2018, 2019)}
    with pytest.raises(ProvenanceError, match="dem.c"):
        build_training_set(every, {2018: assembled(), 2019: assembled(("b", "c"))}, 0.1)


def test_labels_of_other_cells_are_refused():
    with pytest.raises(GridError, match="2019"):
        build_training_set({2019: labels([0, 1, 0, 1], [1, 1, 1, 1], IDS + np.uint64(1))}, {2019: assembled()}, 0.1)


def test_a_study_where_nothing_was_observed_says_so():
    with pytest.raises(TrainingError, match="No cell-year of 2019-2019"):
        build_training_set({2019: labels([np.nan] * 4, [0] * 4)}, {2019: assembled()}, 0.1)


def test_slumps_without_an_area_are_refused_and_not_dropped_as_unobserved():
    every = {y: labels([0.0, np.nan, np.nan, 0.1], [1.0, 0.5, 0.0, 1.0]) for y in (2018, 2019)}
    for each in every.values():
        each["count"][:] = [0.0, 3.0, np.nan, 1.0]
    with pytest.raises(ConfigError, match=r"^2 observed cell-years hold slumps but no density.*area_column"):
        build_training_set(every, dict.fromkeys(every, assembled()), 0.1)
