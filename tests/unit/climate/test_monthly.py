"""What monthly means give, beside what days give."""

import numpy as np
import pytest
import xarray as xr

from entropice_core.climate.annual import annual_maps
from entropice_core.climate.calendar import ArcticCalendar
from entropice_core.climate.daily_files import DailyFiles
from entropice_core.climate.indices import INDICES
from entropice_core.climate.monthly import MONTHLY_SPECS, MonthlyFile
from entropice_core.errors import SourceError
from tests.unit.climate import world

YEAR = 2020
CALENDAR = ArcticCalendar(YEAR)
FIELDS = (("t2m", "mean"), ("tp", "sum"), ("sf", "sum"), ("sd", "mean"), ("e", "sum"))


@pytest.fixture(scope="module")
def daily_maps(tmp_path_factory):
    fields = world.fields_of(YEAR)
    folder = world.write_year(tmp_path_factory.mktemp("daily"), YEAR, {field: fields[field] for field in FIELDS})
    with DailyFiles(folder, CALENDAR) as source:
        return annual_maps(source, CALENDAR)


def write_monthly(path, provisional=""):
    """Monthly means as the service gives them: accumulated variables as rates of a day."""
    fields = world.fields_of(YEAR)
    data = {}
    for short, statistic in FIELDS:
        means = [fields[short, statistic][days].mean(axis=0) for days in CALENDAR.month_slices]
        units = {"units": world.FIELDS[short, statistic]}
        data[short] = (("valid_time", "latitude", "longitude"), np.stack(means), units)
    times = np.array([f"{y}-{m:02d}-01" for y, m in CALENDAR.months], dtype="datetime64[ns]")
    coords = {"valid_time": times, "latitude": world.LATITUDE, "longitude": world.LONGITUDE}
    made = xr.Dataset(data, coords, attrs={"entropice_provisional_months": provisional})
    made.to_netcdf(path, engine="h5netcdf")
    return path


@pytest.fixture
def monthly(tmp_path):
    with MonthlyFile(write_monthly(tmp_path / "m.nc", "2020-08 2020-09"), CALENDAR) as source:
        return annual_maps(source, CALENDAR, MONTHLY_SPECS)


def test_means_and_sums_are_those_of_the_days(monthly, daily_maps):
    same = [name for name in monthly.names if name in INDICES]
    assert "t2m_djf_mean_degC" in same and "evaporation_jja_sum_mm" in same and "summer_warmth_index" in str(same)
    for name in same:
        got, wanted = monthly.rows([name])[0], daily_maps.rows([name])[0]
        np.testing.assert_allclose(got, wanted, rtol=2e-4, atol=2e-3, err_msg=name)


def test_degree_days_of_months_have_names_of_their_own_and_are_never_too_many(monthly, daily_maps):
    approximate = [name for name in monthly.names if name not in INDICES]
    assert {n.partition("_of_months")[0] for n in approximate} == {"thawing_degree_days", "freezing_degree_days"}
    index = next(i for spec in MONTHLY_SPECS for i in spec.indices if i.name == approximate[0])
    assert "approximate" in index.long_name
    for kind in ("thawing", "freezing"):
        got = monthly.rows([f"{kind}_degree_days_of_months_year_sum_K_d"])[0]
        wanted = daily_maps.rows([f"{kind}_degree_days_year_sum_K_d"])[0]
        assert (got <= wanted * (1 + 1e-5)).all() and (got < 0.99 * wanted).any()


def test_provisional_months_come_along(monthly):
    assert monthly.provisional_months == ("2020-08", "2020-09")


def test_the_file_of_another_year_is_refused(tmp_path):
    path = write_monthly(tmp_path / "m.nc")
    with pytest.raises(SourceError, match=r"twelve months 2020-10 to 2021-09, but its time axis has 12 from 2019-10"):
        MonthlyFile(path, ArcticCalendar(2021))
