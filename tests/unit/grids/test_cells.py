"""The list of cells of a study, its metadata, and the check of grids against each other."""

import json

import numpy as np
import pytest
import xarray as xr
import xdggs

from entropice_core.errors import ConfigError, GridError
from entropice_core.grids import GRID_KEYS, open_grid, parse_grid_key
from entropice_core.grids.cells import build_cells, cell_coordinates, check_grid
from entropice_core.grids.land import land_fraction
from entropice_core.grids.study_area import StudyArea
from entropice_core.storage.conventions import apply_conventions

BANKS = StudyArea(60.0, bounds=(-130.0, 70.0, -115.0, 75.0))


@pytest.fixture(scope="module", params=["h3-4", "healpix-7"])
def cells(request):
    return build_cells(parse_grid_key(request.param), BANKS, 0.25)


def test_cells_carry_what_was_promised(cells):
    grid = parse_grid_key(cells.attrs["grid"])
    assert set(cells.coords) == {"cell_ids", "lon", "lat"} and set(cells.data_vars) == {"area_m2", "land_fraction"}
    assert cells.sizes.keys() == {"cell"} and cells["cell_ids"].dtype == np.uint64
    assert (np.diff(cells["cell_ids"].astype("int64")) > 0).all()
    assert cells["area_m2"].dtype == np.float64 and cells["land_fraction"].dtype == np.float32
    np.testing.assert_array_equal(cells["area_m2"], grid.areas_m2(cells["cell_ids"].to_numpy()))
    np.testing.assert_array_equal(grid.locate(cells["lon"], cells["lat"]), cells["cell_ids"])
    for name in cells.variables:
        assert name == "cell_ids" or {"units", "standard_name"} <= set(cells[name].attrs)


def test_cells_with_little_land_are_left_out_and_counted(cells):
    counts = json.loads(cells.attrs["counts"])
    grid = parse_grid_key(cells.attrs["grid"])
    everything = grid.cells(BANKS)
    expected = everything[land_fraction(grid, everything) >= np.float32(0.25)]
    np.testing.assert_array_equal(cells["cell_ids"], expected)
    assert counts["in"] == everything.size and counts["kept"] == cells.sizes["cell"]
    assert counts["rejected"] == {"land fraction below 0.25": everything.size - expected.size}
    assert counts["rejected"]["land fraction below 0.25"] > 0


def test_no_cell_is_left_out_when_no_land_is_asked_for():
    grid = open_grid("healpix", 6)
    cells = build_cells(grid, StudyArea(85.0), 0.0)
    np.testing.assert_array_equal(cells["cell_ids"], grid.cells(StudyArea(85.0)))


@pytest.mark.parametrize("minimum", [-0.1, 1.1, float("nan")])
def test_an_impossible_land_fraction_is_refused(minimum):
    with pytest.raises(ConfigError, match="from 0 to 1"):
        build_cells(open_grid("h3", 3), BANKS, minimum)


def test_an_area_without_land_is_an_error_that_says_the_largest_fraction():
    with pytest.raises(ConfigError, match=r"None of the \d+ cells of h3-3 .* the largest is 0\.000"):
        build_cells(open_grid("h3", 3), StudyArea(86.0), 0.1)


def test_an_area_smaller_than_a_cell_is_an_error_that_says_what_to_do():
    with pytest.raises(ConfigError, match="take a finer level or a larger area"):
        build_cells(open_grid("h3", 3), StudyArea(60.0, bounds=(20.0, 70.0, 20.01, 70.01)), 0.0)


def test_xdggs_decodes_the_cells_and_finds_the_same_centres(cells, tmp_path):
    cells.to_zarr(tmp_path / "cells.zarr", consolidated=False)
    with xr.open_zarr(tmp_path / "cells.zarr", consolidated=False) as stored:
        decoded = xdggs.decode(stored)
        assert decoded.dggs.grid_info.level == cells["cell_ids"].attrs["level"]
        found = decoded.dggs.cell_centers()
        np.testing.assert_allclose(found["latitude"], cells["lat"], atol=1e-9)
        np.testing.assert_allclose((found["longitude"] - cells["lon"] + 180.0) % 360.0, 180.0, atol=1e-9)


@pytest.mark.parametrize("key", GRID_KEYS)
def test_xdggs_reads_the_attributes_of_every_grid(key):
    grid = parse_grid_key(key)
    ids = grid.locate([-139.1, 180.0], [69.6, 71.2])
    decoded = xdggs.decode(cell_coordinates(grid, np.sort(ids)))
    info = decoded.dggs.grid_info.to_dict()
    assert info["grid_name"] == grid.name and info["level"] == grid.level
    if grid.name == "healpix":
        assert info["indexing_scheme"] == "nested" and info["ellipsoid"]["name"] == "WGS84"


@pytest.mark.parametrize("key", GRID_KEYS)
def test_the_zarr_convention_names_grid_level_coordinate_and_ellipsoid(key):
    grid = parse_grid_key(key)
    cells = cell_coordinates(grid, np.sort(grid.locate([-139.1, 180.0], [69.6, 71.2])))
    attrs = json.loads(json.dumps(apply_conventions(cells, grid.attrs()).attrs))
    assert attrs["dggs"]["name"] == grid.name and attrs["dggs"]["refinement_level"] == grid.level
    assert attrs["dggs"]["coordinate"] == "cell_ids" and attrs["dggs"]["spatial_dimension"] == "cell"
    if grid.name == "healpix":
        assert attrs["dggs"]["ellipsoid"]["name"] == "WGS84"
    assert attrs["zarr_conventions"][0]["uuid"] == "7b255807-140c-42ca-97f6-7a1cfecdbc38"


def test_every_pair_of_different_grids_is_refused_naming_both():
    for key in GRID_KEYS:
        grid = parse_grid_key(key)
        dataset = cell_coordinates(grid, grid.locate([20.0], [70.0]))
        for other in GRID_KEYS:
            if other == key:
                check_grid(dataset, parse_grid_key(other))
            else:
                with pytest.raises(GridError, match=f"labels .*{grid.name}.* but {other} is"):
                    check_grid(dataset, parse_grid_key(other), "labels")


def test_healpix_on_the_sphere_is_another_grid():
    grid = open_grid("healpix", 8)
    dataset = cell_coordinates(grid, grid.locate([20.0], [70.0]))
    dataset["cell_ids"].attrs["ellipsoid"] = "sphere"
    with pytest.raises(GridError, match="sphere"):
        check_grid(dataset, grid)


def test_a_dataset_without_cells_is_refused():
    with pytest.raises(GridError, match="no coordinate cell_ids"):
        check_grid(xr.Dataset(), open_grid("h3", 3))
