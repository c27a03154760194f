"""Sources of the real data folder: known numbers of the Arctic come out of the cells."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from entropice_core.config import load_study
from entropice_core.grids import parse_grid_key
from entropice_core.grids.cells import cell_coordinates
from entropice_core.grids.study_area import StudyArea
from entropice_core.sources import open_source

DATA = os.environ.get("ENTROPICE_DATA", "")
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not Path(DATA, "elevation").is_dir(), reason="ENTROPICE_DATA names no folder with elevation/"),
]
STUDY = load_study("ne_siberia")


@pytest.fixture(scope="module", params=["h3-4", "healpix-7"])
def grid(request):
    return parse_grid_key(request.param)


@pytest.fixture(scope="module")
def arctic(grid):
    """All cells north of 60 N, sea included."""
    return cell_coordinates(grid, grid.cells(StudyArea(60.0)))


def read(name, grid, cells, year=2018):
    return open_source(name, STUDY.sources[name], Path(DATA)).features(grid, cells, year)


def arctic_mean(values, grid, cells):
    areas = grid.areas_m2(cells["cell_ids"].values)
    assert np.isfinite(values).all()
    return (values * areas).sum() / areas.sum()


def test_the_arctic_of_era5_is_as_cold_and_dry_as_it_is_known_to_be(grid, arctic):
    got = read("era5_climatology", grid, arctic)
    names, values = got["feature"].values.tolist(), got["features"].values.astype(np.float64)
    january, july = (values[:, names.index(f"t2m_month_{month}")] for month in ("01", "07"))
    assert arctic_mean(january, grid, arctic) == pytest.approx(-20.5, abs=0.15)
    assert arctic_mean(july, grid, arctic) == pytest.approx(7.6, abs=0.15)
    rain = values[:, [name.startswith("tp_") for name in names]].sum(axis=1)
    assert arctic_mean(rain, grid, arctic) == pytest.approx(525.0, abs=5.0)


def test_the_wrong_units_of_the_climatology_are_noted(grid, arctic):
    notes = json.loads(read("era5_climatology", grid, arctic.isel(cell=slice(0, 50))).attrs["notes"])
    assert any("'t2m' is in 'K'; 'degC' is declared" in note for note in notes)
    assert any("'tp' is in 'm'; 'mm' is declared" in note for note in notes)


@pytest.mark.parametrize(
    ("lon", "lat", "metres", "within"),
    [(-149.6, 68.6, 762.0, 200.0), (-38.5, 72.6, 3_185.0, 60.0), (126.5, 72.5, 10.0, 60.0)],
    ids=["Toolik", "Summit of Greenland", "Lena delta"],
)
def test_known_places_have_their_height(lon, lat, metres, within):
    grid = parse_grid_key("healpix-9")
    cells = cell_coordinates(grid, grid.locate([lon], [lat]))
    got = read("etopo5", grid, cells)
    height = dict(zip(got["feature"].values, got["features"].values[0], strict=True))
    assert height["elevation_mean"] == pytest.approx(metres, abs=within)
    assert height["elevation_min"] <= height["elevation_mean"] <= height["elevation_max"]


def test_bathymetry_is_masked_and_counted(grid, arctic):
    got = read("etopo5", grid, arctic)
    counts = json.loads(got.attrs["counts"])["bands"]["elevation"]
    assert counts["masked_outside_valid_range"] > 0.3 * counts["pixels"]
    assert np.nanmin(got["features"].values) >= 0.0
    assert 0.25 < np.isnan(got["features"].values[:, 0]).mean() < 0.6


def test_the_annual_embedding_follows_temperature(grid):
    area = StudyArea(60.0, (79.5, 60.0, -170.0, 77.0))
    cells = cell_coordinates(grid, grid.cells(area))
    embedding = read("agera5_annual", grid, cells, 2018)["features"].values
    t2m = read("era5_climatology", grid, cells)["features"].values[:, :12].mean(axis=1)
    known = np.isfinite(embedding).all(axis=1)
    assert known.mean() > 0.6
    assert (embedding[known] >= 0.0).all() and (embedding[known] <= 254.0).all()
    r = [abs(np.corrcoef(embedding[known, band], t2m[known])[0, 1]) for band in range(3)]
    assert max(r) > 0.8
    other = read("agera5_annual", grid, cells, 2019)["features"].values
    assert 0.0 < np.nanmean(np.abs(other - embedding)) < 30.0


def test_hourly_files_of_the_climate_data_store_are_read(tmp_path):
    """Variables (latitude, longitude, valid_time) of a window of 7 x 7 pixels; every hour is a layer."""
    from entropice_core.config import RasterConfig

    band = {"name": "t2m_{index:03d}", "select": "t2m", "along": "valid_time", "unit": "degC", "offset": -273.15}
    config = RasterConfig(
        kind="raster",
        title="ERA5 hourly, Yukon",
        path="{data}/era5_hourly_yukon/era5_sa_20230101_to_20230131.nc",
        bands=[band | {"valid_range": (-70.0, 40.0)}],
    )
    grid = parse_grid_key("h3-5")
    cells = cell_coordinates(grid, grid.cells(StudyArea(64.2, (-138.9, 64.3, -137.6, 65.6))))
    got = open_source("yukon", config, Path(DATA)).features(grid, cells, None)
    assert got.sizes["feature"] == 744
    assert got["features"].values.mean() == pytest.approx(-17.1, abs=0.5)
