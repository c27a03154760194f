"""Which file belongs to a label year, and what is said when it is missing."""

import pytest

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
    with pytest.raises(ConfigError, match=r"sources\.era5\.path"):
        source(world, data, path).files(2020)


def test_years_in_folders_and_names_must_agree(world, data):
    for year, name in ((2018, "a_2018.nc"), (2019, "a_2018.nc")):
        (data / str(year)).mkdir()
        (data / str(year) / name).write_bytes(b"")
    config = world.config("{data}/{year}/a_{year:04d}.nc")
    assert years_with_files("era5", config, data) == [2018]
