"""Which file belongs to a label year, and what is said when it is missing."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from entropice_core.errors import ConfigError, SourceError
from entropice_core.sources import open_source
from entropice_core.sources.base import years_with_files


@pytest.fixture
def data(tmp_path):
    for year in (2018, 2019, 2021):
        (tmp_path / "era5").mkdir(exist_ok=True)
        (tmp_path / "era5" / f"t_{year}.nc").write_bytes(b"")
    (tmp_path / "era5" / "t_old.nc").write_bytes(b"")
    (tmp_path / "static.tif").write_bytes(b"")
    return tmp_path


def source(world, data, path, **more):
    return open_source("era5", world.config(path, **more), data)


def test_the_file_of_a_year_is_found(world, data):
    got = source(world, data, "{data}/era5/t_{year}.nc")
    assert got.is_yearly and got.files(2019) == [data / "era5" / "t_2019.nc"]


def test_a_lag_takes_the_file_of_an_earlier_year(world, data):
    assert source(world, data, "{data}/era5/t_{year}.nc", lag=2).files(2021) == [data / "era5" / "t_2019.nc"]


def test_a_static_source_has_the_same_file_for_all_years(world, data):
    got = source(world, data, "{data}/static.tif")
    assert not got.is_yearly and got.files(2019) == got.files(None) == [data / "static.tif"]


def test_a_missing_year_is_refused_with_the_years_that_exist(world, data):
    with pytest.raises(SourceError, match=r"'era5' has no file for 2020.*2018, 2019, 2021"):
        source(world, data, "{data}/era5/t_{year}.nc").files(2020)


def test_a_missing_year_of_a_lagged_source_names_both_years(world, data):
    with pytest.raises(SourceError, match=r"for 2020 \(label year 2021, lag 1\)"):
        source(world, data, "{data}/era5/t_{year}.nc", lag=1).files(2021)


def test_when_no_year_is_there_it_is_said(world, data):
    with pytest.raises(SourceError, match="no file of any year is there"):
        source(world, data, "{data}/other/{year}/t_{year}.nc").files(2020)


def test_a_missing_static_file_is_named(world, data):
    with pytest.raises(SourceError, match=r"gone\.tif: put it there or correct sources\.era5\.path"):
        source(world, data, "{data}/gone.tif").files(None)


def test_a_yearly_source_asked_without_a_year_is_refused(world, data):
    with pytest.raises(SourceError, match="no year was given"):
        source(world, data, "{data}/era5/t_{year}.nc").files(None)


@pytest.mark.parametrize("path", ["{data}/{month}.nc", "{data}/{}.nc", "{data}/{year"])
def test_an_unknown_placeholder_is_refused(world, data, path):
    # Past the checks of the study TOML, which say it first.
    config = world.config("{data}/x.nc").model_copy(update={"path": path})
    with pytest.raises(ConfigError, match=r"sources\.era5\.path"):
        open_source("era5", config, data).files(2020)


def test_years_in_folders_and_names_must_agree(world, data):
    for year, name in ((2018, "a_2018.nc"), (2019, "a_2018.nc")):
        (data / str(year)).mkdir()
        (data / str(year) / name).write_bytes(b"")
    config = world.config("{data}/{year}/a_{year:04d}.nc")
    assert years_with_files("era5", config, data) == [2018]


MONTHS = [{"name": "field_{index:02d}", "along": "valid_time"}]


def write_months(world, path, first, name="valid_time", **attrs):
    """Write the world for twelve months from ``first`` on."""
    array = world.array().expand_dims({name: pd.date_range(first, periods=12, freq="MS")})
    array[name].attrs = attrs
    array.to_netcdf(path, engine="h5netcdf")


@pytest.mark.parametrize("first", ["2022-10-01", "2023-01-01"])
def test_a_file_of_an_arctic_or_calendar_year_is_taken(world, features, tmp_path, first):
    write_months(world, tmp_path / "t_2023.nc", first)
    got = features("{data}/t_{year}.nc", MONTHS, year=2023, data_root=tmp_path)
    assert got.sizes["feature"] == 12


def test_the_file_of_another_year_under_the_name_of_this_one_is_refused(world, features, tmp_path):
    write_months(world, tmp_path / "t_2023.nc", "2021-10-01")
    told = r"t_2023\.nc should be the file of 2023, but its own time axis runs from 2021-10-01 to 2022-09-01: put"
    with pytest.raises(SourceError, match=told):
        features("{data}/t_{year}.nc", MONTHS, year=2024, data_root=tmp_path, lag=1)


def test_the_file_of_the_next_arctic_year_is_refused_though_it_begins_in_this_one(world, features, tmp_path):
    write_months(world, tmp_path / "t_2022.nc", "2022-10-01")
    with pytest.raises(SourceError, match="should be the file of 2022, but its own time axis runs from 2022-10-01"):
        features("{data}/t_{year}.nc", MONTHS, year=2022, data_root=tmp_path)


def test_a_time_that_is_no_dimension_is_looked_at_too(world, features, tmp_path):
    time = xr.DataArray(0, attrs={"units": "days since 2022-07-01"})
    world.array().assign_coords(time=time).to_netcdf(tmp_path / "t_2023.nc", engine="h5netcdf")
    with pytest.raises(SourceError, match="from 2022-07-01 to 2022-07-01"):
        features("{data}/t_{year}.nc", year=2023, data_root=tmp_path)


@pytest.mark.parametrize(
    ("name", "values", "attrs"),
    [
        ("month", np.arange(1, 13), {}),
        ("time", np.arange(12), {}),
        ("time", np.arange(12), {"units": "days since the flood"}),
        ("time", np.arange(12), {"units": "days since 1991-01-01", "climatology": "climatology_bounds"}),
    ],
)
def test_steps_that_are_no_dates_contradict_no_year(world, features, tmp_path, name, values, attrs):
    array = world.array().expand_dims({name: values})
    array[name].attrs = attrs
    array.to_netcdf(tmp_path / "t_2023.nc", engine="h5netcdf")
    bands = [{"name": "field_{index:02d}", "along": name}]
    assert features("{data}/t_{year}.nc", bands, year=2023, data_root=tmp_path).sizes["feature"] == 12


def test_a_static_file_may_be_of_any_year(world, features, tmp_path):
    write_months(world, tmp_path / "t.nc", "2001-01-01")
    assert features(tmp_path / "t.nc", MONTHS, year=2023).sizes["feature"] == 12
