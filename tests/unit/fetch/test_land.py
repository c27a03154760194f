"""ERA5-Land from the service into the data folder."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from entropice_core.errors import SourceError
from entropice_core.fetch.calendar import arctic_months
from tests.servers.cds import LAND_DAILY, LAND_HOURLY, field_of


def test_a_monthly_year_of_era5_land_has_a_file_and_a_folder_of_its_own(place):
    report = place.fetch(family="era5-land", variables=("sd", "sde"))
    assert report.file == place.data / "era5-land" / "era5-land_monthly_2021.nc"
    with xr.open_dataset(report.file) as data:
        assert (data["sd"].attrs["GRIB_paramId"], data["sde"].attrs["GRIB_paramId"]) == (141, 3066)
        firsts = pd.DatetimeIndex([f"{y}-{m:02d}-01" for y, m in arctic_months(2021)])
        height = field_of("snow_depth_water_equivalent", firsts, data["latitude"].values, data["longitude"].values)
        np.testing.assert_allclose(data["sd"].values, height, rtol=1e-6)
    assert not (place.data / "era5").exists()
    assert place.hidden() == []


def test_a_daily_year_of_era5_land_has_every_day_and_every_total_of_the_day_before_midnight(place):
    report = place.fetch("daily", 2020, ("t2m", "tp"), statistics=("mean",), family="era5-land")
    assert len(report.fetched) == 12 + 13
    folder = place.data / "era5-land/daily/2020"
    times, totals = [], []
    for path in sorted(folder.glob("*_midnight_*/*.nc")):
        with xr.open_dataset(path) as data:
            times += list(pd.DatetimeIndex(np.atleast_1d(data["valid_time"].values)))
            totals.append(data["tp"].values)
            lat, lon = data["latitude"].values, data["longitude"].values
    days = pd.DatetimeIndex(times) - pd.Timedelta(days=1)  # the value at midnight is the day before it
    assert list(days) == list(pd.date_range("2019-09-30", "2020-09-30"))
    expected = field_of("total_precipitation", days, lat, lon, "daily_sum")
    np.testing.assert_allclose(np.concatenate(totals), expected, rtol=1e-6)
    asked = {job.process for job in place.server.jobs.values()}
    assert asked == {LAND_DAILY, LAND_HOURLY}
    assert place.fetch("daily", 2020, ("t2m", "tp"), statistics=("mean",), family="era5-land").fetched == []


def test_the_last_total_is_not_final_before_october_is(place):
    place.server.final = (2020, 9)
    report = place.fetch("daily", 2020, ("tp",), family="era5-land")
    assert report.summary["provisional_months"] == ["2020-10"]
    place.server.final = (2020, 10)
    again = place.fetch("daily", 2020, ("tp",), family="era5-land")
    assert [name[:10] for name in again.fetched] == ["2020_10_mi"]
    assert again.summary["provisional_months"] == []


def test_the_sea_has_no_values_and_that_is_no_error_unless_all_is_sea(place):
    report = place.fetch(family="era5-land", variables=("t2m",), area=(80.0, 100.0, 70.0, 115.0))
    with xr.open_dataset(report.file) as data:
        missing = np.isnan(data["t2m"].values).mean()
    assert 0.1 < missing < 0.5
    with pytest.raises(SourceError, match="has no value of t2m"):
        place.fetch(family="era5-land", variables=("t2m",), area=(85.0, 100.0, 80.0, 115.0))


def test_accumulated_variables_are_never_asked_of_the_daily_statistics_of_era5_land(place):
    place.fetch("daily", 2020, ("t2m", "tp", "sf"), statistics=("max",), family="era5-land")
    derived = [job for job in place.server.jobs.values() if job.process == LAND_DAILY]
    assert {tuple(job.inputs["variable"]) for job in derived} == {("2m_temperature",)}
    assert not any("skipping" in line for job in place.server.jobs.values() for _, line in job.log)
