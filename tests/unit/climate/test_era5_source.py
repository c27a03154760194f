"""Climate features of cells: the source kinds, what they say of themselves, and what they keep."""

import json
import warnings

import numpy as np
import pytest

from entropice_core.climate.annual import annual_maps
from entropice_core.climate.calendar import ArcticCalendar
from entropice_core.climate.daily_files import DailyFiles
from entropice_core.climate.indices import INDICES
from entropice_core.config.sources import CONFIGS
from entropice_core.errors import ConfigError, SourceError
from entropice_core.features import weights
from entropice_core.features.weights import compute_weights
from entropice_core.grids import parse_grid_key
from entropice_core.grids.cells import cell_coordinates
from entropice_core.grids.study_area import StudyArea
from entropice_core.sources import era5, open_source
from tests.unit.climate import world

AREA = StudyArea(60.0, (170.0, 60.0, -160.0, 75.0))
YEARS = (2018, 2019, 2020, 2021, 2022)
FEW = (("t2m", "mean"), ("stl1", "mean"), ("tp", "sum"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    root = tmp_path_factory.mktemp("data")
    for year in YEARS:
        made = world.fields_of(year)
        world.write_year(root, year, made if year == 2022 else {field: made[field] for field in FEW})
    return root


@pytest.fixture(autouse=True)
def nothing_remembered(monkeypatch):
    monkeypatch.setattr(era5, "_KEPT", type(era5._KEPT)())


def config(kind="era5_daily", **more):
    return CONFIGS[kind](kind=kind, title="ERA5", **more)


def cells_of(key):
    grid = parse_grid_key(key)
    return grid, cell_coordinates(grid, grid.cells(AREA))


def column(made, name):
    return made["features"].values[:, made["feature"].values.tolist().index(name)]


def test_a_mean_index_is_the_mean_of_its_pixels(data):
    grid, cells = cells_of("h3-3")
    made = open_source("era5", config(), data).features(grid, cells, 2022)
    calendar = ArcticCalendar(2022)
    with DailyFiles(data / "era5" / "daily" / "2022", calendar) as source:
        maps = annual_maps(source, calendar)
    matrix = compute_weights(maps.layout, grid, cells["cell_ids"].values)
    for name in ("thawing_degree_days_year_sum_K_d", "snow_days_djf_count_d"):
        wanted = matrix @ maps.values[maps.names.index(name)] / np.asarray(matrix.sum(axis=1)).ravel()
        np.testing.assert_allclose(column(made, name), wanted, rtol=1e-5)


def test_pixels_come_first_and_then_the_mean(data):
    """Degree days of a mean temperature would be fewer than the mean of degree days."""
    grid, cells = cells_of("healpix-6")
    calendar = ArcticCalendar(2022)
    made = column(open_source("era5", config(), data).features(grid, cells, 2022), "thawing_degree_days_year_sum_K_d")
    with DailyFiles(data / "era5" / "daily" / "2022", calendar) as source:
        t = np.empty((365, *source.layout.shape), np.float32)
        source.read(("t2m", "mean"), slice(0, len(t[0])), t)
        t = t.reshape(365, -1) - 273.15
        matrix = compute_weights(source.layout, grid, cells["cell_ids"].values)
    of_means = np.maximum(matrix @ t.T.astype(np.float64) / matrix.sum(axis=1)[:, None], 0.0).sum(axis=1)
    assert (made >= of_means * (1 - 1e-5)).all() and (made > of_means * 1.01).mean() > 0.5


def test_ratios_are_formed_of_the_averages_of_a_cell(data):
    grid, cells = cells_of("h3-3")
    made = open_source("era5", config(), data).features(grid, cells, 2022)
    soil, air = (column(made, f"{w}thawing_degree_days_year_sum_K_d") for w in ("soil_", ""))
    factor = column(made, "thawing_n_factor_year_ratio_1")
    np.testing.assert_allclose(factor[air >= 10], (soil / np.where(air > 0, air, 1))[air >= 10], rtol=1e-6)
    assert np.isnan(factor[air < 10]).all()


def test_cells_smaller_than_a_pixel_are_counted_and_know_their_pixel(data):
    grid, cells = cells_of("h3-5")
    small = cells.isel(cell=slice(0, None, 40))
    made = open_source("era5", config(indices=("t2m_year_mean_degC",)), data).features(grid, small, 2022)
    counts = json.loads(made.attrs["counts"])["cells"]
    assert counts["smaller_than_a_pixel"] == counts["all"] == small.sizes["cell"] and counts["within_one_pixel"] > 0
    alone = made["effective_pixels"].values < 1.0 + 1e-6
    values, pixel = made["features"].values[:, 0], made["main_pixel"].values
    shared = {p: values[alone & (pixel == p)] for p in np.unique(pixel[alone])}
    assert any(v.size > 1 for v in shared.values()) and all(np.ptp(v) < 1e-4 for v in shared.values())
    assert "belong into one fold" in made.attrs["notes"]


def test_features_are_named_united_and_described(data):
    grid, cells = cells_of("h3-3")
    made = open_source("era5", config(), data).features(grid, cells, 2022)
    names = made["feature"].values.tolist()
    assert len(names) == len(set(names)) == 135 and set(names) < set(INDICES)
    at = names.index("thawing_degree_days_jja_sum_K_d")
    assert made["unit"].values[at] == "K d" and "summer (JJA)" in made["long_name"].values[at]
    assert made["standard_name"].values[at] == "integral_wrt_time_of_air_temperature_excess"
    assert made["cell_methods"].values[at] == "time: sum area: mean"
    assert "5 indices are not made: no pev sum." in json.loads(made.attrs["notes"])
    assert np.isfinite(made["features"].values[:, names.index("t2m_djf_min_degC")]).all()
    np.testing.assert_allclose(made["valid_fraction"], 1.0, rtol=1e-6)


def test_indices_are_chosen_by_name_and_by_pattern(data):
    grid, cells = cells_of("h3-3")
    chosen = config(indices=("t2m_*_mean_degC", "freezing_n_factor_*"))
    made = open_source("era5", chosen, data).features(grid, cells, 2021)
    assert made.sizes["feature"] == 6 and made["feature"].values[-1] == "freezing_n_factor_year_ratio_1"
    lacking = config(indices=("t2m_year_mean_degC", "thaw_days_*", "swe_*"))
    with pytest.raises(SourceError, match=r"cannot make 'swe_\*' of Arctic year 2021: it needs sd \(mean\), of which"):
        open_source("era5", lacking, data).features(grid, cells, 2021)
    with pytest.raises(ConfigError, match="No climate index is called 't2m_year_mean_K'; did you mean"):
        open_source("era5", config(indices=("t2m_year_mean_K",)), data)


def test_what_is_kept_is_used_by_other_grids_and_by_the_history_and_forgotten_when_a_file_changes(data, tmp_path):
    import shutil

    copy = tmp_path / "data"
    shutil.copytree(data, copy)
    source = open_source("era5", config(indices=("t2m_*",)), copy, tmp_path / "work")
    grid, cells = cells_of("h3-3")
    first = source.features(grid, cells, 2021)
    (kept,) = (tmp_path / "work" / "climate").glob("2021-*/maps.npy")
    stamp = kept.stat().st_mtime_ns
    era5._KEPT.clear()
    weights._KEPT.clear()
    np.testing.assert_array_equal(source.features(grid, cells, 2021)["features"], first["features"])
    other, others = cells_of("healpix-6")
    source.features(other, others, 2021)
    assert kept.stat().st_mtime_ns == stamp and len(list((tmp_path / "work" / "weights").glob("*.npz"))) == 2
    path = next((copy / "era5" / "daily" / "2021").glob("*_mean_*/all.nc"))
    content = path.read_bytes()
    path.write_bytes(content + b"0")
    era5._KEPT.clear()
    source.features(grid, cells, 2021)
    assert len(list((tmp_path / "work" / "climate").glob("2021-*/maps.npy"))) == 2


def test_a_year_that_was_not_fetched_says_which_are_there(data):
    grid, cells = cells_of("h3-3")
    source = open_source("era5", config(lag=1), data)
    with pytest.raises(SourceError, match=r"nothing for Arctic year 2030: .* 2018, 2019, .* 2022 \(the newest\)"):
        source.files(2031)
    with pytest.raises(SourceError, match=r"entropice fetch era5 --year 1991 --product daily"):
        source.features(grid, cells, 1992)
    with pytest.raises(SourceError, match=r"ERA5 begins in January 1940, .* first whole one is 1941"):
        source.files(1941)
    with pytest.raises(SourceError, match="no year was given"):
        source.files(None)


def test_the_files_of_a_year_are_its_results(data):
    files = open_source("era5", config(lag=1), data).files(2023)
    assert {p.parent.parent.name for p in files} == {"2022"} and len(files) == 4


def history(**more):
    return config("era5_history", climatology={"first": 2018, "last": 2021}, last_years=5, indices=FEW_INDICES, **more)


FEW_INDICES = ("t2m_year_mean_degC", "thawing_n_factor_year_ratio_1")


def test_a_year_is_compared_with_the_configured_years(data, tmp_path):
    grid, cells = cells_of("h3-3")
    source = open_source("history", history(), data, tmp_path)
    made = source.features(grid, cells, 2022)
    daily = open_source("era5", config(indices=FEW_INDICES), data, tmp_path)
    by_year = np.stack([column(daily.features(grid, cells, y), FEW_INDICES[0]) for y in YEARS]).astype(np.float64)
    anomaly = column(made, "t2m_year_mean_anomaly_2018_2021_K")
    np.testing.assert_allclose(anomaly, by_year[4] - by_year[:4].mean(axis=0), atol=1e-5)
    np.testing.assert_array_equal(column(made, "t2m_year_mean_highest_5a_degC"), by_year.max(axis=0).astype(np.float32))
    np.testing.assert_array_equal(column(made, "t2m_year_mean_lowest_5a_degC"), by_year.min(axis=0).astype(np.float32))
    slopes = [np.median([(x[j] - x[i]) / (j - i) for i in range(5) for j in range(i + 1, 5)]) for x in by_year.T]
    np.testing.assert_allclose(column(made, "t2m_year_mean_trend_5a_K_a1"), slopes, atol=1e-5)
    assert made.sizes["feature"] == 8 and made.attrs["file_year"] == "2018-2022"
    assert len(source.files(2022)) == 4 * 2 + 4 and len(list((tmp_path / "climate").glob("*/maps.npy"))) == 5


def test_a_history_without_all_its_years_or_variables_is_refused(data):
    grid, cells = cells_of("h3-3")
    with pytest.raises(SourceError, match="nothing for Arctic year 2017"):
        open_source("history", history(), data).files(2021)
    lacking = config("era5_history", climatology={"first": 2018, "last": 2021}, last_years=5, indices=("rain_*",))
    with pytest.raises(SourceError, match=r"cannot make rain_year_sum_mm, .* of Arctic year 2018"):
        open_source("history", lacking, data).features(grid, cells, 2022)


def test_a_store_at_an_address_must_name_its_state():
    with pytest.raises(ValueError, match="name its state"):
        config(path="https://data.example.org/era5.zarr")
    with pytest.raises(ValueError, match="are for Zarr stores"):
        config(days_late=1)
    assert config(path="https://data.example.org/era5.zarr", snapshot="2026-11").is_address


def test_a_local_store_gives_the_features_of_the_files(data, tmp_path):
    world.write_zarr(tmp_path / "data" / "daily.zarr", (2021,))
    source = open_source("era5", config(path="{data}/daily.zarr", indices=("precipitation_*",)), tmp_path / "data")
    grid, cells = cells_of("h3-3")
    made = source.features(grid, cells, 2021)
    assert [p.name for p in source.files(2021)] == ["daily.zarr"]
    assert made.attrs["provisional_months"] == "2021-07 2021-08 2021-09"
    assert np.isfinite(made["features"]).all()


def test_ranges_of_features_follow_from_their_units():
    daily = config()
    assert daily.bounds_of("t2m_year_mean_degC") == (-105.0, 90.0)
    assert daily.bounds_of("thaw_days_year_count_d") == (0.0, 366.0)
    assert daily.bounds_of("t2m_year_mean_anomaly_1991_2020_K")[1] == np.inf


def test_all_values_lie_in_their_ranges(data):
    grid, cells = cells_of("healpix-6")
    daily = config()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        made = open_source("era5", daily, data).features(grid, cells, 2022)
    for i, name in enumerate(made["feature"].values):
        low, high = daily.bounds_of(name)
        values = made["features"].values[:, i]
        assert np.nanmin(values) >= low and np.nanmax(values) <= high, name
